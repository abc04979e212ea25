(() => {
  "use strict";
  const root = document.documentElement, choice = document.getElementById("theme");
  const kept = (() => { try { return localStorage.getItem("recon-theme"); } catch { return null; } })();
  const wear = (theme) => {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
    choice.value = root.dataset.theme ?? "auto";
  };
  wear(kept);
  choice.addEventListener("change", () => {
    wear(choice.value);
    try { localStorage.setItem("recon-theme", choice.value); } catch { /* storage is blocked: the choice lasts for this page view */ }
  });
  document.getElementById("print").addEventListener("click", () => print());
})();
