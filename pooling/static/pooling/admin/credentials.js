// Asks for the credential of the chosen broker alone. Without this script all fields stand there.
"use strict";

{
  const PREFIX = "credential_";
  const CHOOSE = "Choose a broker: what it needs is asked for here.";
  const NONE = "This broker needs no credential.";

  /** The broker that a field belongs to; a broker's name may begin with another's. */
  const brokerOf = (input, brokers) =>
    brokers
      .filter((broker) => input.name.startsWith(`${PREFIX}${broker}_`))
      .reduce((longest, broker) => (broker.length > longest.length ? broker : longest), "");

  const follow = (select, inputs) => {
    const brokers = [...select.options].map(({ value }) => value).filter(Boolean);
    const note = document.createElement("p");
    note.className = "tp-quiet tp-credential-note";
    note.setAttribute("role", "status");
    inputs[0].closest(".form-row").before(note);
    const show = () => {
      let shown = 0;
      for (const input of inputs) {
        const row = input.closest(".form-row");
        // What the server says of a field is never hidden, whosever it is.
        const isShown = brokerOf(input, brokers) === select.value || row.querySelector(".errorlist") !== null;
        row.hidden = !isShown;
        input.disabled = !isShown; // what was typed for another broker is not sent
        shown += isShown;
      }
      note.textContent = !select.value ? CHOOSE : NONE;
      note.hidden = shown > 0;
    };
    select.addEventListener("change", show);
    window.addEventListener("pageshow", show); // a browser that goes back restores what was chosen
    show();
  };

  document.addEventListener("DOMContentLoaded", () => {
    const select = document.querySelector("select#id_broker");
    const inputs = [...document.querySelectorAll(`input[name^="${PREFIX}"]`)];
    if (select && inputs.length) {
      follow(select, inputs);
    }
  });
}
