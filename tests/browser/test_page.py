"""The page in a real browser: what people do with it, and what it does when nodes die."""

import base64
import json
import re
import shutil
import sys
import tempfile
import time
import unittest
from pathlib import Path

import axe_core_python
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import proxy
from nodes import ROOT, Nodes, free_port, png, wait_for

MOVED_WITHIN_S = 2.0
# Rules of WCAG 2.1 AA and good practice, contrast included; returns what is broken, and where.
AXE = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text()
JUDGE = """
const [done] = arguments, tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"];
axe.run({ runOnly: tags }).then(({ violations }) => done(violations.map(
  ({ id, nodes }) => `${id}: ${nodes.map((node) => node.html.slice(0, 150)).join(" ")}`)));
"""
# Hands files to the page as a person who drops them does.
DROP = """
const [files, done] = arguments;
const transfer = new DataTransfer();
for (const [name, base64, type] of files) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  transfer.items.add(new File([bytes], name, { type }));
}
const target = document.getElementById("drop");
for (const kind of ["dragenter", "dragover", "drop"]) {
  target.dispatchEvent(new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
}
"""

# Two answers of the nodes, a moment apart, as they come from /cluster?all; returns a card and the grade of the load.
TELL = """
clearTimeout(pollTimer);
const state = JSON.parse(JSON.stringify(cluster));
const uploads = [624, 712, 664];
state.nodes.forEach((status, at) => Object.assign(status, {
  started_unix_ms: Date.now() - 3661000, bytes_held: 12e6, disk: { free_bytes: 25e9, total_bytes: 100e9 },
  warnings: ["Clocks differ."], counters: { ...status.counters, images: uploads[at] },
  upload_durations: { bounds: [0.01, 0.1, 1], counts: [7, 0, 0, 0], sum_seconds: 1, count: 7 },
}));
state.nodes[0].peers[0].state = "suspect";
state.nodes[2].condition = "disk full";
samples.length = 0;
note(state);
const later = JSON.parse(JSON.stringify(state));
for (const status of later.nodes) Object.assign(status.upload_durations, { counts: [7, 50, 49, 1], count: 107 });
note(later);
show(later);
return [document.querySelector(".card dl").textContent, document.getElementById("grade").textContent];
"""


def picture(seed, edge=120):
    return png(edge, edge * 2 // 3, lambda x, y: ((x * 2 + seed * 40) % 256, (y * 3) % 256, (seed * 90 + x * y // 40) % 256))


class Browser:
    """Chromium without a window."""

    def __init__(self):
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        # For the proxy of a test, which has a certificate of its own.
        options.accept_insecure_certs = True
        options.add_argument(f"--host-resolver-rules=MAP {proxy.NAME} 127.0.0.1")
        for argument in ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1280,1000"]:
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        service = webdriver.ChromeService("/usr/bin/chromedriver")
        self.driver = webdriver.Chrome(options=options, service=service)
        self.downloads = Path(tempfile.mkdtemp(prefix="downloads-"))
        self.cdp("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads))

    def quit(self):
        self.driver.quit()
        shutil.rmtree(self.downloads, ignore_errors=True)

    def cdp(self, command, **parameters):
        return self.driver.execute_cdp_cmd(command, parameters)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0])?.textContent ?? ''", selector)

    def texts(self, selector):
        return self.run("return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)", selector)

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def click(self, selector):
        wait_for(f"{selector} is there", lambda: self.run("return !!document.querySelector(arguments[0])", selector))
        self.run("document.querySelector(arguments[0]).scrollIntoView({ block: 'center' })", selector)
        self.find(selector).click()

    def press(self, *keys):
        ActionChains(self.driver).send_keys(*keys).perform()

    def focus(self):
        """What the focused element is called."""
        return self.run("const e = document.activeElement; return e.getAttribute('aria-label') || e.textContent || e.id")

    def drop(self, *files):
        self.run(DROP, [[name, base64.b64encode(content).decode(), kind] for name, content, kind in files])

    def states(self):
        """Node → state and whether it leads, as the page shows them."""
        return self.run(
            "return Object.fromEntries([...document.querySelectorAll('.card')].map((card) => [card.dataset.key,"
            " [card.querySelector('.badge').textContent, !card.querySelector('.lead').hidden]]))"
        )

    def entries(self):
        return self.texts("#gallery-list .name")

    def downloaded(self, name):
        path = self.downloads / name
        return wait_for(f"{name} is downloaded", lambda: path.exists() and path.read_bytes())


class PageTest(unittest.TestCase):
    def setUp(self):
        self.browser = Browser()
        self.addCleanup(self.browser.quit)

    def use(self, nodes):
        self.enterContext(nodes)
        self.nodes = nodes
        self.dead = []
        self.expected_statuses = set()
        self.origins = {id: nodes.urls.get(id, nodes.url(id)) for id in nodes.ports}
        return nodes

    def open(self, id):
        self.browser.driver.get(self.origins[id] + "/")

    def await_nodes(self):
        expected = {str(id): "● alive" for id in self.nodes.ports}
        wait_for("all nodes are alive on the page", lambda: {k: v[0] for k, v in self.browser.states().items()} == expected)

    def choose_user(self, name):
        self.browser.find("#user").send_keys(name, Keys.ENTER)

    def kill(self, id):
        self.nodes.kill(id)
        self.dead.append(id)
        return time.monotonic()

    def has_moved(self, id):
        """On the page of another node, where this one is dead and another one leads."""
        if self.browser.driver.current_url.startswith(self.origins[id]):
            return False
        states = self.browser.states() or {}
        leader = [node for node, (_, leads) in states.items() if leads]
        return states.get(str(id), [""])[0] == "✕ dead" and leader == ["2"]

    def check_console_and_requests(self):
        """Nothing went wrong but what must, and nothing was asked of others than the nodes."""
        dead = [self.origins[id] for id in self.dead]
        for entry in self.browser.driver.get_log("browser"):
            if entry["level"] not in ("SEVERE", "WARNING"):
                continue
            message = entry["message"]
            of_dead = any(url in message for url in dead) and ("net::ERR_" in message or " 502 " in message)
            status = re.search(r"responded with a status of (\d+)", message)
            expected = status and int(status[1]) in self.expected_statuses
            self.assertTrue(of_dead or expected, message)
        allowed = tuple(origin + "/" for origin in self.origins.values())
        asked = 0
        for entry in self.browser.driver.get_log("performance"):
            event = json.loads(entry["message"])["message"]
            if event["method"] != "Network.requestWillBeSent":
                continue
            url, asked = event["params"]["request"]["url"], asked + 1
            own = url.startswith(allowed) or url.startswith(tuple("blob:" + start for start in allowed)) or url == "data:,"
            self.assertTrue(own, url)
        self.assertGreater(asked, 5)

    def test_images_are_kept_shown_and_deleted_while_the_node_of_the_page_dies(self):
        self.use(Nodes())
        self.open(3)
        self.await_nodes()
        self.choose_user("alice")
        first, second = picture(1), picture(2)
        self.browser.drop(("first.png", first, "image/png"), ("second.png", second, "image/png"), ("cat.png", b"\xff\xd8\xff\xe0 JPEG", "image/png"))
        wait_for("the images are in the gallery", lambda: self.browser.entries() == ["first.png", "second.png"])
        wait_for("they have thumbnails", lambda: self.browser.run("return document.querySelectorAll('.thumb canvas').length") == 2)
        wait_for(
            "what is no PNG is refused before it is sent",
            lambda: "This is no PNG, but a JPEG" in self.browser.text("li[data-state=refused]"),
        )
        self.assertEqual(self.nodes.get(1, "/images/alice/cat.png")[0], 404)
        self.replace_an_image()
        holder = json.loads(self.nodes.get(1, "/images/alice/?limit=1")[1])["images"][0]["node"]
        name, content = ("first.png", picture(3)) if holder != 3 else ("second.png", second)
        self.check_console_and_requests()

        killed = self.kill(3)
        wait_for("the page has moved and says so", lambda: self.has_moved(3), MOVED_WITHIN_S)
        print(f"moved, with a dead node and a new leader on the page, {time.monotonic() - killed:.2f} s after the kill")
        self.assertIn("Node 3, which served this page, does not answer.", self.browser.text("[data-key=moved]"))
        self.assertNotIn("#", self.browser.driver.current_url)
        wait_for("the failure is told in words", lambda: any("Node 3 failed" in text for text in self.browser.texts("#events li")))
        wait_for("the election, too", lambda: any("Node 2 was elected and leads" in text for text in self.browser.texts("#events li")))
        wait_for("the gallery of the same user is there", lambda: name in self.browser.entries())
        self.check_download_and_delete(name, content)
        self.check_console_and_requests()

    def test_what_was_not_uploaded_when_the_node_died_is_named(self):
        self.use(Nodes())
        self.open(3)
        self.await_nodes()
        self.choose_user("alice")
        wait_for("the gallery", lambda: "No images here yet." in self.browser.text("#gallery-summary"))
        self.nodes.stop(3)
        self.browser.drop(("late.png", picture(8), "image/png"))
        wait_for("it is being sent", lambda: self.browser.texts("li[data-state=sending] .name") == ["late.png"])
        self.kill(3)
        wait_for("the page has moved", lambda: self.has_moved(3))
        self.assertIn("late.png", self.browser.text("[data-key=unfinished]"))

    @unittest.skipUnless(proxy.is_there(), "SKIPPED: nginx and openssl are not installed")
    def test_behind_a_proxy_with_one_name_nothing_is_redirected(self):
        port = free_port()
        origin = f"https://{proxy.NAME}:{port}"
        self.use(Nodes(options=["--allow-host", proxy.NAME]))
        self.origins = {id: origin for id in self.nodes.ports}
        self.enterContext(proxy.Proxy([(port, list(self.nodes.ports.values()))]))
        self.open(1)
        self.await_nodes()
        self.choose_user("alice")
        images = [(f"p{number}.png", picture(number), "image/png") for number in range(6)]
        self.browser.drop(*images)
        wait_for("they are in the gallery", lambda: self.browser.entries() == [name for name, _, _ in images])
        self.browser.click("#uploads-clear")
        wait_for("with thumbnails", lambda: self.browser.run("return document.querySelectorAll('.thumb canvas').length") == 6)
        self.assertEqual(self.browser.text("#serving"), f"● through {proxy.NAME}:{port}")
        self.check_download_and_delete("p3.png", picture(3))
        self.nodes.kill(3)
        wait_for("the dead node is seen", lambda: self.browser.states()["3"][0] == "✕ dead")
        self.assertTrue(self.browser.driver.current_url.startswith(origin))
        self.check_console_and_requests()

    @unittest.skipUnless(proxy.is_there(), "SKIPPED: nginx and openssl are not installed")
    def test_behind_a_proxy_with_a_name_for_each_node_the_page_moves_from_one_to_another(self):
        ports = {id: free_port() for id in (1, 2, 3)}
        urls = {id: f"https://{proxy.NAME}:{port}" for id, port in ports.items()}
        nodes = self.use(Nodes(urls=urls))
        self.enterContext(proxy.Proxy([(ports[id], [port]) for id, port in nodes.ports.items()]))
        self.open(3)
        self.await_nodes()
        self.assertEqual(self.browser.text(".card[data-key='2'] .where"), urls[2])
        self.choose_user("alice")
        self.browser.drop(("mine.png", picture(4), "image/png"))
        wait_for("it is in the gallery", lambda: self.browser.entries() == ["mine.png"])
        self.kill(3)
        wait_for("the page has moved", lambda: self.has_moved(3), MOVED_WITHIN_S)
        self.check_console_and_requests()

    def test_a_node_that_hangs_is_left_too(self):
        self.use(Nodes())
        self.open(3)
        self.await_nodes()
        self.nodes.stop(3)
        wait_for("the page has moved", lambda: self.has_moved(3))
        self.assertIn("Node 3, which served this page, does not answer.", self.browser.text("[data-key=moved]"))

    def test_what_nodes_tell_of_themselves_is_shown(self):
        """Latency is that of what came in between; σ is that of stress_test."""
        self.use(Nodes())
        self.open(1)
        self.await_nodes()
        card, load = self.browser.run(TELL)
        for fact in ["Latency p50, p99100 ms, 1.0 s", "Up for1 h 1 min", "Bytes held12 MB", "Disk25 GB free of 100 GB"]:
            self.assertIn(fact, card)
        self.assertIn("◐ suspect", self.browser.text(".card[data-key='2'] .badge"))
        self.assertIn("■ full", self.browser.text(".card[data-key='3'] .badge"))
        self.assertEqual(load, "✓ Excellent balance: σ\u00a0=\u00a01.80\u00a0% (σ\u00a0<\u00a05\u00a0%)")
        self.assertIn("Clocks differ.", self.browser.text("[data-key^='warning']"))

    def judge(self, what):
        self.browser.run(AXE + "; return null")
        self.assertEqual(self.browser.driver.execute_async_script(JUDGE), [], what)

    def test_screen_readers_and_weak_eyes_find_nothing_amiss(self):
        self.use(Nodes(tokens=[("alice", "read,write,delete,list,admin")]))
        self.nodes.put(1, "/images/alice/first.png", picture(1), "alice")
        for scheme in ("light", "dark"):
            self.browser.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            self.open(1)
            wait_for("a token is asked for", lambda: self.browser.run("return document.getElementById('token-dialog').open"))
            self.judge(f"{scheme}: the token")
            self.browser.run("document.getElementById('token-user').value = 'alice'")
            self.browser.find("#token").send_keys(self.nodes.token["alice"], Keys.ENTER)
            self.await_nodes()
            self.browser.drop(("first.png", picture(2), "image/png"), ("cat.png", b"GIF89a", "image/png"), ("a b.txt", picture(3), "image/png"))
            wait_for("two are refused", lambda: len(self.browser.texts("li[data-state=refused]")) == 2)
            wait_for("one exists", lambda: len(self.browser.texts("li[data-state=exists]")) == 1)
            wait_for("the thumbnail", lambda: self.browser.run("return document.querySelectorAll('.thumb canvas').length") == 1)
            self.judge(f"{scheme}: the page")
            self.browser.click("[aria-label='View first.png']")
            wait_for("it is shown", lambda: self.browser.run("return document.getElementById('viewer-image').naturalWidth"))
            self.judge(f"{scheme}: an image")
            self.browser.click("#viewer-delete")
            self.judge(f"{scheme}: the question")
            self.browser.press(Keys.ESCAPE, Keys.ESCAPE)
            self.browser.press(Keys.ESCAPE)
            self.browser.click("#sign-in")

    def replace_an_image(self):
        """An upload to a name that exists asks first."""
        self.expected_statuses.add(412)
        self.browser.drop(("first.png", picture(3), "image/png"))
        wait_for("it asks", lambda: "exists" in self.browser.text("li[data-state=exists]"))
        self.assertEqual(self.browser.driver.get_log("browser")[-1]["message"].count("412"), 1)
        content = lambda: self.nodes_content("first.png")
        self.assertEqual(content(), picture(1))
        self.browser.click("[aria-label='Replace first.png']")
        wait_for("it is replaced", lambda: content() == picture(3))
        wait_for("it says so", lambda: any("replaced on node" in text for text in self.browser.texts("li[data-state=done]")))

    def nodes_content(self, name, user=None):
        id = next(iter(self.nodes.processes))
        return self.nodes.get(id, f"/images/alice/{name}?relay", user)[1]

    def check_download_and_delete(self, name, content):
        self.browser.click(f"[aria-label='Download {name}']")
        self.assertEqual(self.browser.downloaded(name), content)
        self.browser.click(f"[aria-label='Delete {name}']")
        wait_for("it asks first", lambda: self.browser.run("return document.getElementById('confirm').open"))
        self.browser.click("#confirm-no")
        self.assertIn(name, self.browser.entries())
        self.browser.click(f"[aria-label='Delete {name}']")
        self.browser.click("#confirm-yes")
        wait_for("it is gone", lambda: name not in self.browser.entries())

    def test_with_tokens_one_is_asked_for_and_goes_along(self):
        everything = "read,write,delete,list,admin"
        self.use(Nodes(tokens=[("alice", everything), ("bob", "read,list")]))
        self.open(3)
        wait_for("a token is asked for", lambda: self.browser.run("return document.getElementById('token-dialog').open"))
        self.expected_statuses.add(401)
        self.browser.find("#token-user").send_keys("alice")
        self.browser.find("#token").send_keys("A" * 43, Keys.ENTER)
        wait_for("a wrong one is refused", lambda: "not known here" in self.browser.text("#token-why"))
        self.browser.find("#token").send_keys(self.nodes.token["alice"], Keys.ENTER)
        self.await_nodes()
        image = picture(4)
        self.browser.drop(("mine.png", image, "image/png"), ("other.png", picture(5), "image/png"))
        wait_for("they are in the gallery", lambda: self.browser.entries() == ["mine.png", "other.png"])
        self.assertEqual(self.nodes.get(1, "/images/alice/mine.png")[0], 401)
        self.kill(3)
        wait_for("the page has moved", lambda: self.has_moved(3), MOVED_WITHIN_S)
        self.assertNotIn("#", self.browser.driver.current_url)
        self.assertFalse(self.browser.run("return document.getElementById('token-dialog').open"))
        page = json.loads(self.nodes.get(1, "/images/alice/", "alice")[1])
        left = wait_for("the gallery is there", self.browser.entries)
        self.assertEqual(left, [item["name"] for item in page["images"]])
        if "mine.png" in left:
            self.check_download_and_delete("mine.png", image)
        kept = self.browser.run("return [localStorage.length, document.cookie, Object.keys(sessionStorage).sort()]")
        self.assertEqual(kept, [0, "", ["pixseal.token", "pixseal.user"]])
        self.browser.click("#sign-in")
        wait_for("the token is forgotten", lambda: self.browser.run("return sessionStorage.getItem('pixseal.token')") == "")
        self.check_console_and_requests()

    def test_who_is_no_admin_sees_who_the_nodes_are_and_his_images(self):
        self.use(Nodes(tokens=[("alice", "read,write,list")]))
        self.nodes.put(1, "/images/alice/a.png", picture(1), "alice")
        self.open(1)
        wait_for("a token is asked for", lambda: self.browser.run("return document.getElementById('token-dialog').open"))
        self.browser.find("#token-user").send_keys("alice")
        self.browser.find("#token").send_keys(self.nodes.token["alice"], Keys.ENTER)
        self.await_nodes()
        wait_for("the image is there", lambda: self.browser.entries() == ["a.png"])
        self.assertIn("Not told", self.browser.text("#load-note"))
        self.expected_statuses.add(403)
        self.browser.click("[aria-label='Delete a.png']")
        self.browser.click("#confirm-yes")
        wait_for("the node's words are shown", lambda: "Your token does not allow this." in self.browser.text("[data-key=delete]"))
        self.check_console_and_requests()

    def tab_to(self, name):
        for _ in range(80):
            if self.browser.focus() == name:
                outline = self.browser.run("return getComputedStyle(document.activeElement).outlineStyle")
                self.assertEqual(outline, "solid", f"the focus on {name} is not seen")
                return
            self.browser.press(Keys.TAB)
        self.fail(f"{name} cannot be reached by the keyboard")

    def test_everything_can_be_done_by_the_keyboard(self):
        self.use(Nodes())
        self.open(1)
        self.await_nodes()
        self.browser.press(Keys.TAB)
        self.assertEqual(self.browser.focus(), "Skip to images")
        self.browser.press(Keys.ENTER)
        self.tab_to("user")
        self.browser.press("alice", Keys.ENTER)
        self.tab_to("Choose files")
        # The system's own dialog is not the page's: what it gives comes in here.
        image = self.browser.downloads / "key.png"
        image.write_bytes(picture(6))
        self.browser.find("#files").send_keys(str(image))
        wait_for("it is in the gallery", lambda: self.browser.entries() == ["key.png"])
        image.unlink()
        self.tab_to("View key.png")
        self.browser.press(Keys.ENTER)
        wait_for("it is shown", lambda: self.browser.run("return document.getElementById('viewer-image').naturalWidth") == 120)
        self.browser.press(Keys.ESCAPE)
        wait_for("it is closed", lambda: not self.browser.run("return document.getElementById('viewer').open"))
        self.assertEqual(self.browser.focus(), "View key.png")
        self.tab_to("Download key.png")
        self.browser.press(Keys.ENTER)
        self.assertEqual(self.browser.downloaded("key.png"), picture(6))
        self.tab_to("Delete key.png")
        self.browser.press(Keys.ENTER)
        wait_for("it asks first, and the safe answer has the focus", lambda: self.browser.focus() == "Keep it")
        self.browser.press(Keys.TAB, Keys.ENTER)
        wait_for("it is gone", lambda: self.browser.entries() == [])
        wait_for("that is said", lambda: self.browser.text("#said") == "key.png is deleted.")
        self.check_console_and_requests()

    def test_a_long_list_has_pages_and_fits_on_a_phone(self):
        self.use(Nodes())
        small = picture(7, 12)
        for number in range(100):
            self.nodes.put(1 + number % 3, f"/images/alice/p{number:03}.png", small)
        self.browser.cdp("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=1, mobile=True)
        self.open(2)
        self.await_nodes()
        self.choose_user("alice")
        shown = lambda first: lambda: self.browser.entries()[:1] == [first]
        wait_for("the first page", shown("p000.png"))
        self.assertEqual(len(self.browser.entries()), 48)
        self.browser.click("#page-next")
        wait_for("the second", shown("p048.png"))
        self.browser.click("#page-next")
        wait_for("the last", lambda: len(self.browser.entries()) == 4)
        self.browser.click("#page-back")
        wait_for("back", shown("p048.png"))
        self.browser.find("#jump").send_keys("p07", Keys.ENTER)
        wait_for("from a name on", shown("p070.png"))
        width = self.browser.run("return [document.documentElement.scrollWidth, innerWidth]")
        self.assertEqual(width, [360, 360], "the page is wider than the phone")
        seen = self.browser.run("return document.querySelectorAll('.thumb canvas').length")
        self.assertLess(seen, 30, "only what is seen is fetched")
        self.check_console_and_requests()


if __name__ == "__main__":
    if sys.argv[1:] == ["--screenshots"]:
        import screenshots

        screenshots.take(Browser, ROOT / "docs")
    else:
        words = [word if "." in word else f"PageTest.{word}" for word in sys.argv[1:]]
        unittest.main(argv=[sys.argv[0], *words], verbosity=2)
