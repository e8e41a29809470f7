// What the scripts of all pages share: elements, and what is copied.
const leam = (() => {
  "use strict";
  const make = (tag, attributes = {}, ...inside) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...inside);
    return element;
  };
  const button = (text, label, action) => {
    const element = make("button", { type: "button", "aria-label": label }, text);
    element.addEventListener("click", action);
    return element;
  };
  // Screen readers read this aloud.
  const say = (text) => { document.getElementById("status").textContent = text; };
  const copy = async (text, what) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Browsers allow the clipboard only to some pages.
      const area = make("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    say(`Copied ${what}`);
  };
  return { make, button, say, copy };
})();
