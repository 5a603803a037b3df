// What the limits would do, told while they are typed. The confirmation says it for sure.
"use strict";

{
  const numberOf = (row) => {
    const input = row?.querySelector("input");
    const text = input ? input.value.trim() : row?.querySelector("[data-label='Set here']")?.textContent.trim();
    const typed = Number(text);
    const value = text && Number.isFinite(typed) && typed >= 1 ? typed : Number(row.dataset.default);
    const cap = row.dataset.cap ? Number(row.dataset.cap) : Infinity;
    return { effective: Math.min(value, cap), isCapped: value > cap, cap };
  };

  const words = (number) => number.toLocaleString("en-US");

  const describe = (table) => {
    const connections = numberOf(table.querySelector("[data-limit='max_connections']"));
    const symbols = numberOf(table.querySelector("[data-limit='symbols_per_connection']"));
    const product = connections.effective * symbols.effective;
    const granted = table.dataset.accountCap ? Number(table.dataset.accountCap) : Infinity;
    const places = Math.min(product, granted);
    const held = Number(table.dataset.held);
    const without = Math.max(held - places, 0);
    const bound = places < product ? `, of which the broker grants an account ${words(places)}` : "";
    const sum = `${words(connections.effective)} x ${words(symbols.effective)} = ${words(product)} places${bound}`;
    if (connections.isCapped || symbols.isCapped) {
      const cap = connections.isCapped
        ? `${words(connections.cap)} connections`
        : `${words(symbols.cap)} symbols per connection`;
      return { text: `The broker allows ${cap} at most.`, tone: "bad" };
    }
    if (without) {
      return {
        text: `${sum}: ${words(without)} of ${words(held)} symbols would have no place, the newest first.`,
        tone: "warn",
      };
    }
    const enough = held ? `room for all ${words(held)} symbols held now` : "nothing is held now";
    return { text: `${sum}: ${enough}.`, tone: "good" };
  };

  const follow = (group) => {
    const table = group.querySelector(".tp-limits-table");
    const hint = group.querySelector(".tp-hint");
    if (!table || !hint || !table.querySelector("[data-cap]")) {
      return;
    }
    const show = () => {
      const { text, tone } = describe(table);
      hint.textContent = text;
      hint.className = `tp-hint tp-hint-${tone}`;
      hint.hidden = false;
    };
    table.addEventListener("input", show);
    show();
  };

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll(".tp-limits").forEach(follow);
  });
}
