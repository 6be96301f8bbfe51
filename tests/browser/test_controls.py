"""The controls round the views: the list of objects, the bar, the panels; by mouse, by keyboard, in dark and light."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from screen import Screen, leave

SCHEMES = ("dark", "light")


@pytest.fixture(scope="module")
def dashboard(serve, phantom_file: Path, small_model: str, tmp_path_factory: pytest.TempPathFactory):
    long = tmp_path_factory.mktemp("long") / f"{'a-very-long-name-of-a-case-' * 3}.nii.gz"
    long.write_bytes(phantom_file.read_bytes())
    return serve(phantom_file, long, model=small_model)


@pytest.fixture(scope="module")
def page(chromium, dashboard) -> Iterator:
    """One page for all tests of this file, since each page has a kernel of its own."""
    context = chromium.new_context(viewport={"width": 1280, "height": 720}, color_scheme="dark")
    screen = Screen(context.new_page())
    screen.page.goto(dashboard.page())
    screen.wait_for_status("Click on an organ|resumed")
    screen.settle()
    yield screen
    leave(context)


@pytest.fixture
def screen(page: Screen) -> Iterator[Screen]:
    page.page.keyboard.press("Escape")
    yield page
    page.page.set_viewport_size({"width": 1280, "height": 720})
    page.page.emulate_media(color_scheme="dark")
    page.page.evaluate("document.querySelector('.sammed3d-app').focus()")


def objects(screen: Screen, number: int) -> None:
    """See that there are at least so many objects."""
    rows = screen.page.locator(".snb-object")
    for more in range(rows.count() + 1, number + 1):
        screen.page.keyboard.press("n")
        screen.page.wait_for_function("n => document.querySelectorAll('.snb-object').length >= n", arg=more)


def test_rows_keep_their_height_scroll_and_the_current_one_is_in_view(screen: Screen) -> None:
    objects(screen, 20)
    heights = screen.page.evaluate("[...document.querySelectorAll('.snb-object')].map((row) => row.offsetHeight)")
    assert set(heights) == {28}
    assert screen.seen(".snb-current") == 1, "the last one"
    room = screen.page.evaluate(
        """() => {
            const side = document.querySelector(".snb-side").getBoundingClientRect();
            const last = document.querySelector(".snb-side > :last-child").getBoundingClientRect();
            return [side.bottom - last.bottom, document.querySelector(".snb-objects").clientHeight];
        }"""
    )
    assert room[0] < 8, "the list takes the free room"
    assert room[1] > 100
    screen.page.evaluate("document.querySelector('.snb-objects').scrollTop = 0")
    screen.page.keyboard.press("o")  # the one after the last is the first
    screen.wait_for_status("^object 1: ")
    assert screen.seen(".snb-current") == 1


def test_the_whole_row_selects_and_the_dot_is_on_the_current_one_only(screen: Screen) -> None:
    objects(screen, 3)
    for number in (3, 2, 1):
        screen.page.locator(".snb-object").nth(number - 1).locator(".snb-ml").click()
        screen.wait_for_status(f"^object {number}: ")
    dots = screen.page.evaluate(
        "[...document.querySelectorAll('.snb-pick')].map((b) => getComputedStyle(b, '::before').content !== 'none')"
    )
    assert dots == [True] + [False] * (len(dots) - 1)
    pressed = screen.page.evaluate("[...document.querySelectorAll('.snb-pick')].map((b) => b.ariaPressed)")
    assert pressed == ["true"] + ["false"] * (len(pressed) - 1)


def test_escape_leaves_a_name_and_a_refused_one_keeps_neither_focus_nor_keys(screen: Screen) -> None:
    objects(screen, 2)
    screen.page.locator(".snb-object").nth(0).locator(".snb-ml").click()
    screen.wait_for_status("^object 1: ")
    title = screen.page.locator(".snb-current .snb-title")
    title.fill("spleen")
    screen.page.keyboard.press("Escape")
    assert title.input_value() == "object 1"
    title.fill("object 2")
    screen.page.keyboard.press("Enter")
    screen.wait_for_status("There is an object “object 2” already")
    assert title.input_value() == "object 1"
    screen.page.keyboard.press("t")  # a key of the app's again
    screen.page.wait_for_selector(".snb-sign button.mod-active >> text=Negative")
    screen.page.keyboard.press("t")
    screen.page.wait_for_selector(".snb-sign button.mod-active >> text=Positive")


def test_rows_live_as_long_as_their_objects(screen: Screen) -> None:
    objects(screen, 3)
    screen.page.evaluate("document.querySelectorAll('.snb-object').forEach((row, n) => { row.mark = n; })")
    screen.page.locator(".snb-object").nth(1).locator(".snb-ml").click()
    screen.wait_for_status("^object 2: ")
    before = screen.page.locator(".snb-object").count()
    screen.page.keyboard.press("n")
    screen.page.wait_for_function("n => document.querySelectorAll('.snb-object').length > n", arg=before)
    marks = screen.page.evaluate("[...document.querySelectorAll('.snb-object')].map((row) => row.mark ?? -1)")
    assert marks == [*range(before), -1]


def test_a_colour_is_picked(screen: Screen) -> None:
    screen.page.locator(".snb-current .snb-swatch").fill("#12ab34")
    screen.wait_for_status("no clicks yet")
    screen.page.keyboard.press("Control+z")
    screen.wait_for_status("Undone: colour of")
    assert screen.page.locator(".snb-current .snb-swatch").input_value() != "#12ab34"


def test_after_a_choice_the_arrows_scroll_again(screen: Screen) -> None:
    menu = screen.page.locator(".snb-window select")
    menu.focus()
    menu.select_option("Bone")
    box = screen.box("axial")
    screen.page.mouse.move(*screen.point("axial", box["width"] / 2, box["height"] / 2))
    screen.page.wait_for_selector(".snb-hover")
    before = screen.space("voxel")
    screen.page.keyboard.press("ArrowDown")
    screen.page.wait_for_function(
        "z => document.querySelector('.snb-hover [data-space=voxel]').dataset.point.split(' ')[2] !== z",
        arg=str(int(before[2])),
    )
    assert menu.input_value() == "Bone"


def test_the_window_is_typed(screen: Screen) -> None:
    before = screen.settled_pixels("axial")
    width = screen.page.locator(".snb-window-w input")
    width.fill("1234")
    screen.page.keyboard.press("Enter")
    screen.page.wait_for_function("document.querySelector('.snb-window select').value === 'Manual'")
    assert (screen.settled_pixels("axial") != before).any()
    width.fill("-5")
    screen.page.keyboard.press("Enter")
    screen.wait_for_status("A window -5 wide cannot be shown; type a width above 0.")
    screen.page.wait_for_function("document.querySelector('.snb-window-w input').value === '1234'")
    screen.page.keyboard.press("1")
    screen.page.wait_for_function("document.querySelector('.snb-window-w input').value === '400'")


def test_a_slice_is_typed(screen: Screen) -> None:
    box = screen.box("axial")
    screen.page.mouse.move(*screen.point("axial", box["width"] / 2, box["height"] / 2))
    screen.page.keyboard.press("j")
    screen.page.wait_for_function("document.activeElement.closest('.snb-jump-panel .snb-axial') !== null")
    screen.page.keyboard.type("7")  # instead of the number that stood there
    screen.page.keyboard.press("Enter")
    screen.page.mouse.move(*screen.point("axial", box["width"] / 2 + 9, box["height"] / 2))
    screen.page.wait_for_selector(".snb-hover [data-space=plane][data-point$=' 6']")
    screen.page.locator(".snb-jump-panel .snb-axial input").focus()
    screen.page.keyboard.press("Escape")
    screen.page.wait_for_selector(".snb-jump-panel", state="hidden")


def test_tab_reaches_every_control_and_each_has_a_name(screen: Screen) -> None:
    screen.page.evaluate("document.querySelector('.sammed3d-app').focus()")
    reached = []
    for _ in range(400):
        screen.page.keyboard.press("Tab")
        found = screen.page.evaluate(
            """() => {
                const at = document.activeElement;
                if (!at || at === document.body) return null;
                at.reached = (at.reached ?? 0) + 1;
                const label = at.labels?.[0]?.textContent;
                return [at.reached, at.ariaLabel || label || at.textContent.trim() || at.title || "", at.outerHTML];
            }"""
        )
        if found is None or found[0] > 1:
            break
        reached.append(found)
    assert [html for _, name, html in reached if not name] == [], "controls without a name"
    missed = screen.page.evaluate(
        """() => [...document.querySelectorAll(
            ".sammed3d-app :is(button, select, input:not([tabindex='-1']), [role=slider])")]
            .filter((e) => e.offsetParent && !e.disabled && !e.reached)
            .filter((e) => !e.matches(".jupyter-matplotlib-button"))  // of a toolbar that is not shown
            .map((e) => e.outerHTML)"""
    )
    assert missed == []


@pytest.mark.parametrize("width", [1280, 1000, 900, 700])
def test_no_text_of_the_bar_is_cut(screen: Screen, width: int) -> None:
    screen.page.set_viewport_size({"width": width, "height": 720})
    screen.page.wait_for_timeout(1000)
    cut = screen.page.evaluate(
        """() => [...document.querySelectorAll(".snb-toolbar button, .snb-toolbar input, .snb-toolbar .widget-label")]
            .filter((e) => e.offsetParent && e.scrollWidth > e.clientWidth + 1).map((e) => e.textContent)"""
    )
    assert cut == []
    bar = screen.page.evaluate("document.querySelector('.snb-toolbar').getBoundingClientRect().toJSON()")
    assert bar["right"] <= width
    for selector in (".snb-undo", ".snb-export", ".snb-toggle_help", ".snb-status", ".snb-axial canvas:last-of-type"):
        assert screen.seen(selector) > 0.95, selector


def test_what_is_cut_has_a_tooltip(screen: Screen) -> None:
    screen.page.locator(".snb-case select").select_option(index=1)
    name = screen.wait_for_status("^a-very-long-name").split(":")[0]
    assert screen.page.locator(".snb-status [role=status]").get_attribute("title").startswith(name)
    screen.page.wait_for_function("n => document.querySelector('.snb-case select').title.startsWith(n)", arg=name)
    screen.page.locator(".snb-case select").select_option(index=0)
    screen.wait_for_status("^phantom: ")


def test_the_panel_of_keys_fits_a_small_screen(screen: Screen) -> None:
    screen.page.keyboard.press("?")
    screen.page.wait_for_selector(".snb-help-panel", state="visible")
    cut = screen.page.locator(".snb-help-panel").evaluate(
        "(panel) => [panel.scrollHeight - panel.clientHeight, panel.scrollWidth - panel.clientWidth]"
    )
    assert max(cut) <= 1
    assert screen.seen(".snb-help-panel") > 0.95


_CONTRASTS = """() => {
    const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
    const over = (top, below) => {
        const a = top[3] ?? 1;
        return [0, 1, 2].map((n) => top[n] * a + below[n] * (1 - a));
    };
    const ground = (element) => {
        const layers = [];
        for (let at = element; at; at = at.parentElement) {
            const colour = numbers(getComputedStyle(at).backgroundColor);
            layers.push(colour);
            if ((colour[3] ?? 1) === 1) break;
        }
        return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
    };
    const light = (rgb) => rgb.map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
    const found = [];
    for (const element of document.querySelectorAll(".sammed3d-app, .sammed3d-app *")) {
        const words = element.matches("input[type=text], input[type=number], select") ? element.value
            : [...element.childNodes].filter((n) => n.nodeType === 3).map((n) => n.textContent.trim()).join("");
        if (!words || !element.offsetParent || element.closest(":disabled, canvas, option")) continue;
        let opacity = 1;
        for (let at = element; at; at = at.parentElement) opacity *= Number(getComputedStyle(at).opacity);
        const below = ground(element);
        const ink = numbers(getComputedStyle(element).color);
        const text = over([...ink.slice(0, 3), (ink[3] ?? 1) * opacity], below);
        const [dark, bright] = [light(text), light(below)].sort((a, b) => a - b);
        found.push([(bright + 0.05) / (dark + 0.05), words.slice(0, 30), element.className]);
    }
    return found;
}"""


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_text_stands_out(screen: Screen, scheme: str) -> None:
    screen.page.emulate_media(color_scheme=scheme)
    box = screen.box("axial")
    screen.page.mouse.move(*screen.point("axial", box["width"] / 2, box["height"] / 2))
    screen.page.wait_for_selector(".snb-hover")
    screen.page.keyboard.press("?")
    screen.page.wait_for_selector(".snb-help-panel", state="visible")
    for sign in ("Negative", "Positive"):
        screen.page.keyboard.press("t")
        screen.page.wait_for_selector(f".snb-sign button.mod-active >> text={sign}")
        found = screen.page.evaluate(_CONTRASTS)
        assert len(found) > 80
        assert [one for one in found if one[0] < 4.5] == []


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_theme_is_the_systems_and_the_views_stay_dark(screen: Screen, scheme: str) -> None:
    screen.page.emulate_media(color_scheme=scheme)
    screen.settle()
    picture = screen.picture()
    box = screen.box("axial")
    x, y = round(box["x"] + 0.7 * box["width"]), round(box["y"])
    panel, view = picture[300:320, 1100:1110].mean(), picture[y + 4 : y + 8, x : x + 40].mean()
    assert panel > 200 if scheme == "light" else panel < 60
    assert view < 60
