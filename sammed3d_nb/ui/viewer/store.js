// The slices that the page has, within a bound on bytes, and asking the kernel for those that it will need.

const BUDGET = 256 * 2 ** 20; // bytes of decoded slices
const AHEAD = 24, BEHIND = 8, BESIDE = 6; // slices fetched ahead: in the direction of travel, against it, other planes
const LOST_MS = 15000; // an answer that has not come by then will not come

const IMAGE = 1, MASKS = 2; // what is asked for

export class Store {
  // `ask(list)` sends [plane, index, what] triples to the kernel.
  constructor(ask) {
    this.ask = ask;
    this.trip = 20; // ms from asking to the answer, where nothing else was being answered
    this.gap = 10; // ms between two answers
    this.last = 0;
    this.reset(0, null);
  }

  // Another volume: nothing of the one before stays, and what of it still arrives is dropped.
  reset(generation, planes) {
    this.generation = generation;
    this.planes = planes; // by name
    this.objects = [];
    this.entries = new Map(); // the least recently used first
    this.pending = new Map();
    this.wanted = [];
    this.bytes = 0;
  }

  get(name, index) {
    const key = `${name} ${index}`;
    const entry = this.entries.get(key);
    if (entry !== undefined) {
      this.entries.delete(key);
      this.entries.set(key, entry);
    }
    return entry;
  }

  has(name, index) {
    return this.entries.has(`${name} ${index}`);
  }

  // What has arrived and is decoded: `values` is null where only masks were asked for.
  put(name, index, values, masks) {
    const key = `${name} ${index}`;
    this.answered(key);
    const old = this.entries.get(key);
    if (old === undefined && values === null) return;
    const entry = old ?? { masks: new Map() };
    if (values !== null) entry.values = values;
    for (const mask of masks) {
      const known = entry.masks.get(mask.id);
      if (known === undefined || known.version <= mask.version) entry.masks.set(mask.id, mask);
    }
    this.bytes -= entry.bytes ?? 0;
    entry.bytes = entry.values.byteLength;
    for (const mask of entry.masks.values()) entry.bytes += mask.bits?.length ?? 0;
    this.bytes += entry.bytes;
    this.entries.delete(key);
    this.entries.set(key, entry);
    for (const [other, oldest] of this.entries) {
      if (this.bytes <= BUDGET || this.entries.size <= 3) break;
      this.entries.delete(other);
      this.bytes -= oldest.bytes;
    }
  }

  answered(key) {
    const asked = this.pending.get(key);
    if (asked === undefined) return;
    const now = performance.now();
    this.trip = Math.min(1.05 * this.trip, now - asked);
    if (asked < this.last) this.gap += 0.2 * (Math.max(now - this.last, 4) - this.gap);
    this.last = now;
    this.pending.delete(key);
  }

  // The objects as they are now. Masks that have not changed in a slice stay: `changed` is the box of voxels [low,
  // high) in which an object differs from its version before.
  setObjects(objects) {
    this.objects = objects;
    const known = new Map(objects.map((object) => [object.id, object]));
    for (const [key, entry] of this.entries) {
      const [name, index] = [key.split(" ")[0], Number(key.split(" ")[1])];
      for (const [id, mask] of entry.masks) {
        const object = known.get(id);
        if (object === undefined) {
          entry.masks.delete(id);
        } else if (mask.version === object.version - 1 && object.changed !== null) {
          if (!this.cuts(name, index, object.changed)) mask.version = object.version;
        }
      }
    }
  }

  // Whether a slice goes through a box of voxels.
  cuts(name, index, [low, high]) {
    const axis = this.planes[name].axes[2];
    return index >= low[axis] && index < high[axis];
  }

  // The masks of a slice, in the order of the objects, and whether all of them are up to date.
  masks(name, index, entry) {
    let fresh = true;
    const found = [];
    for (const object of this.objects) {
      if (!this.cuts(name, index, object.box)) continue;
      const mask = entry.masks.get(object.id);
      if (mask?.version !== object.version) fresh = false;
      if (mask?.bits) found.push([object, mask]);
    }
    return [found, fresh];
  }

  // Fetch what is shown, and then what comes next: `cross` is where the views are, `travel` [name, +1 or -1] the last
  // move.
  want(cross, travel) {
    if (this.planes === null) return;
    const at = (name) => cross[this.planes[name].axes[2]];
    const list = Object.keys(this.planes).map((name) => [name, at(name)]);
    const beside = list.filter(([name]) => name !== travel[0]).map(([name]) => name);
    for (let n = 1; n <= AHEAD; n++) {
      list.push([travel[0], at(travel[0]) + n * travel[1]]);
      if (n <= BEHIND) list.push([travel[0], at(travel[0]) - n * travel[1]]);
      if (n % 2 === 0 && n / 2 <= BESIDE) {
        for (const name of beside) list.push([name, at(name) + n / 2], [name, at(name) - n / 2]);
      }
    }
    this.wanted = list.filter(([name, index]) => index >= 0 && index < this.planes[name].slices);
    this.pump();
  }

  // Ask for as much as keeps the line busy, and no more: the next wish may be another one.
  pump() {
    const now = performance.now();
    for (const [key, asked] of this.pending) if (now - asked > LOST_MS) this.pending.delete(key);
    const most = Math.min(Math.ceil(this.trip / this.gap) + 1, 16);
    const list = [];
    for (const [position, [name, index]] of this.wanted.entries()) {
      const room = this.pending.size + list.length < most;
      if (!room && position > 2) break;
      const key = `${name} ${index}`;
      if (this.pending.has(key)) continue;
      const entry = this.entries.get(key);
      const what = entry === undefined ? IMAGE | MASKS : this.masks(name, index, entry)[1] ? 0 : MASKS;
      if (what !== 0) list.push([name, index, what]);
    }
    for (const [name, index] of list) this.pending.set(`${name} ${index}`, now);
    if (list.length > 0) this.ask(list);
  }
}
