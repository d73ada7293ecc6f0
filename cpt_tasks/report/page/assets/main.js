// Start: theme, leaderboard, charts, samples.
const THEMES = ["system", "light", "dark"];

function set_up_theme() {
  const button = document.getElementById("theme");
  let theme = "system";
  try {
    theme = localStorage.getItem("cpt-theme") ?? theme;
  } catch { /* a browser may forbid storage to files */ }
  const apply = () => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.querySelector("span").textContent = theme;
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    try {
      localStorage.setItem("cpt-theme", theme);
    } catch { /* then it lasts as long as the page */ }
    apply();
  });
  apply();
}

let width = document.documentElement.clientWidth;
let pause;
addEventListener("resize", () => {
  clearTimeout(pause);
  pause = setTimeout(() => {
    if (Math.abs(document.documentElement.clientWidth - width) < 24) return;
    width = document.documentElement.clientWidth;
    draw_all();
  }, 200);
});
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("main details:not(#chooser)")) details.open = true;
});

set_up_theme();
set_up_tables();
set_up_charts();
set_up_samples();
draw_all();
document.documentElement.dataset.ready = "true";
