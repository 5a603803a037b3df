"""What of a page cannot be read: text too pale for its ground, by the rule of WCAG AA."""

from __future__ import annotations

from playwright.async_api import Page

__all__ = ["pale_texts"]

_PALE = """() => {
    const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const rgba = (colour) => {
        const [r, g, b, alpha = 1] = numbers(colour);
        return [r, g, b, alpha];
    };
    const over = ([r, g, b, alpha], below) =>
        [r, g, b].map((part, at) => part * alpha + below[at] * (1 - alpha));
    const ancestors = (node) => node ? [...ancestors(node.parentElement), node] : [];
    const groundOf = (node) => ancestors(node).reduce(
        (below, each) => over(rgba(getComputedStyle(each).backgroundColor), below),
        [127, 127, 127]);
    const light = (parts) => {
        const [r, g, b] = parts.map((part) => part / 255).map(
            (part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const looks = { opacityProperty: true, visibilityProperty: true };
    const isShown = (node) => node.checkVisibility(looks)
        && !node.closest('.visually-hidden, :disabled, option, script, style');
    const pale = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const node = texts.currentNode.parentElement;
        const text = texts.currentNode.textContent.trim();
        if (!text || !isShown(node)) continue;
        const style = getComputedStyle(node);
        const ground = groundOf(node);
        const [r, g, b, alpha] = rgba(node instanceof SVGElement ? style.fill : style.color);
        const opacity = ancestors(node).reduce(
            (all, each) => all * Number(getComputedStyle(each).opacity), alpha);
        const two = [light(over([r, g, b, opacity], ground)), light(ground)];
        const ratio = (Math.max(...two) + 0.05) / (Math.min(...two) + 0.05);
        if (ratio < 4.5) pale.push(`${text.slice(0, 40)} (${ratio.toFixed(2)})`);
    }
    return pale;
}"""


async def pale_texts(page: Page) -> list[str]:
    """Return what is shown with a contrast below 4.5 to what is behind it, each with that."""
    pale: list[str] = await page.evaluate(_PALE)
    return pale
