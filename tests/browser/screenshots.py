"""The pictures of docs/page.md: a small cluster at work, light, dark, and on a phone."""

import math
import threading
import time

from nodes import Nodes, png, wait_for

NAMES = ["meadow", "dunes", "harbour", "ridge", "lagoon", "orchard", "glacier", "canyon", "delta", "moor", "reef", "steppe"]
# As long as the charts have something to show.
WATCHED_S = 75
PNG_BYTES_MAX = 200_000


def landscape(seed, width=240, height=150):
    """Hills below a sky, in few colours, so that the pictures of the page stay small."""
    hue = seed * 0.53

    def colour(x, y):
        for layer in range(3):
            top = height * (0.35 + 0.2 * layer) + 14 * math.sin(x / (34 - 8 * layer) + seed * (layer + 2))
            if y < top:
                depth = layer / 3
                break
        else:
            depth = 1
        return tuple(int(120 + 100 * math.cos(hue + 2.1 * part + 1.2 * depth) * (0.4 + depth / 2)) for part in range(3))

    return png(width, height, colour)


def work(nodes, stop):
    """Uploads of somebody else, at a changing pace."""
    images = [png(edge, edge, lambda x, y, edge=edge: (x % 256, y % 256, edge)) for edge in (40, 80, 130)]
    started = count = 0
    started = time.monotonic()
    while not stop.is_set():
        id = 1 + count % 3
        nodes.put(id, f"/images/stress/image_{count}.png", images[count % 3])
        count += 1
        stop.wait(0.03 + 0.03 * math.sin((time.monotonic() - started) / 3))


def take(browser_type, folder):
    images = {f"{name}.png": landscape(seed) for seed, name in enumerate(NAMES, 1)}
    with Nodes() as nodes:
        for at, (name, content) in enumerate(images.items()):
            nodes.put(1 + at % 3, f"/images/alice/{name}", content)
        stop = threading.Event()
        worker = threading.Thread(target=work, args=(nodes, stop))
        worker.start()
        try:
            watch(browser_type(), nodes, images, folder)
        finally:
            stop.set()
            worker.join()


def watch(browser, nodes, images, folder):
    try:
        browser.cdp("Emulation.setDeviceMetricsOverride", width=1280, height=1060, deviceScaleFactor=1, mobile=False)
        browser.driver.get(nodes.url(1) + "/#user=alice")
        wait_for("the gallery", lambda: len(browser.entries()) == len(images))
        browser.drop(("bay.png", landscape(40), "image/png"), ("meadow.png", landscape(41), "image/png"), ("cat.png", b"\xff\xd8\xff", "image/png"))
        wait_for("what was dropped is judged", lambda: len(browser.texts("#uploads-list li[data-state]")) == 3)
        began = time.monotonic()
        wait_for("something to draw", lambda: time.monotonic() - began > WATCHED_S, WATCHED_S + 5)
        for name, scheme, size in [("light", "light", (1280, 1060)), ("dark", "dark", (1280, 1060)), ("phone", "light", (390, 1500))]:
            browser.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            width, height = size
            browser.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)
            browser.run("scrollTo(0, 0); document.activeElement.blur()")
            wait_for("all thumbnails", lambda: browser.run(
                "return [...document.querySelectorAll('.thumb')].filter((t) => t.getBoundingClientRect().top < innerHeight).every((t) => t.firstChild)"))
            path = folder / f"page-{name}.png"
            browser.driver.save_screenshot(str(path))
            size = path.stat().st_size
            assert size < PNG_BYTES_MAX, f"{path}: {size} bytes"
            print(f"{path}: {size} bytes")
    finally:
        browser.quit()
