"""A real browser without a window, for tests of pages."""

import shutil
from contextlib import contextmanager

# Facts about a page in a browser: the resources that it loaded, its width, and the contrast of its text.
LOADED = "return performance.getEntriesByType('resource').map(each => each.name)"
WIDTHS = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
WORST_CONTRAST = """
const parse = text => {
  const numbers = (text.match(/[\\d.e-]+/g) || []).map(Number);
  return text.startsWith('color(srgb') ? [...numbers.slice(0, 3).map(each => 255 * each), numbers[3] ?? 1]
                                       : [...numbers.slice(0, 3), numbers[3] ?? 1];
};
const luminance = rgb => rgb.slice(0, 3).map(each => each / 255)
  .map(each => each <= .03928 ? each / 12.92 : ((each + .055) / 1.055) ** 2.4)
  .reduce((sum, each, index) => sum + each * [.2126, .7152, .0722][index], 0);
const behind = element => {
  for (let each = element; each; each = each.parentElement) {
    const colour = parse(getComputedStyle(each).backgroundColor);
    if (colour[3] > .99) return colour;
  }
  return [255, 255, 255, 1];
};
let worst = [99, ''];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !element.getClientRects().length || element.closest('title')) continue;
  const style = getComputedStyle(element);
  const pair = [luminance(parse(element.closest('svg') ? style.fill : style.color)), luminance(behind(element))];
  const ratio = (Math.max(...pair) + .05) / (Math.min(...pair) + .05);
  if (ratio < worst[0]) worst = [ratio, walker.currentNode.data.trim()];
}
return worst;
"""


def is_there():
    """Return whether Chromium and its driver are installed."""
    return bool(shutil.which("chromium") and shutil.which("chromedriver"))


@contextmanager
def chromium():
    """Start a headless Chromium."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield driver
    finally:
        driver.quit()


def look_at(driver, page, width, scheme):
    """Open a page with a width and a colour scheme.

    Returns:
        What the browser complains of.
    """
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    driver.get(page.resolve().as_uri())
    return driver.get_log("browser")
