"use strict";
// Draws the figures, in the colours of the theme that the page has.
(function () {
  const figures = JSON.parse(document.getElementById("plots-data").textContent);
  const root = document.documentElement;
  const config = {
    responsive: true,
    displaylogo: false,
    displayModeBar: false,
  };

  // Keys that end in "color" hold names of CSS variables: "@new" is --new.
  function coloured(value, key, style) {
    if (Array.isArray(value)) return value.map((item) => coloured(item, key, style));
    if (value !== null && typeof value === "object") {
      return Object.fromEntries(
        Object.entries(value).map(([name, item]) => [name, coloured(item, name, style)]),
      );
    }
    const isName = typeof value === "string" && value[0] === "@" && /color$/.test(key);
    return isName ? style.getPropertyValue("--" + value.slice(1)).trim() : value;
  }

  function draw() {
    const style = getComputedStyle(root);
    const font = getComputedStyle(document.body).fontFamily;
    for (const [name, figure] of Object.entries(figures)) {
      const element = document.getElementById(name);
      const { data, layout } = coloured(figure, "", style);
      layout.font.family = font;
      // Paper has no resize event to adapt to.
      if (root.classList.contains("printing")) layout.width = element.clientWidth;
      else layout.autosize = true;
      Plotly.react(element, data, layout, config);
    }
    document.dispatchEvent(new Event("recoloured"));
  }

  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  const folded = [...document.querySelectorAll("details:not([open])")];
  function printing(on) {
    root.classList.toggle("printing", on);
    folded.forEach((element) => (element.open = on));
    draw();
  }
  window.addEventListener("beforeprint", () => printing(true));
  window.addEventListener("afterprint", () => printing(false));
})();
