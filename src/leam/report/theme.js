// The colour scheme that the reader chose, set before anything is drawn. `select.theme` changes it.
(() => {
  "use strict";
  const root = document.documentElement;
  const stored = (value) => {
    try {
      if (value !== undefined) localStorage.setItem("leam-theme", value);
      return localStorage.getItem("leam-theme");
    } catch {
      return value; // Some browsers store nothing for local files.
    }
  };
  const set = (value) => {
    if (value === "light" || value === "dark") root.dataset.theme = value;
    else delete root.dataset.theme;
  };
  root.classList.add("scripted");
  set(stored());
  addEventListener("DOMContentLoaded", () => {
    for (const select of document.querySelectorAll("select.theme")) {
      select.value = root.dataset.theme ?? "";
      select.addEventListener("change", () => {
        stored(select.value);
        set(select.value);
      });
    }
  });
})();
