import {
  createTheme,
  defaultVariantColorsResolver,
  type MantineColorsTuple,
  type VariantColorsResolver,
} from "@mantine/core";

// The bird's own colours: brown-grey plumage, black mask, yellow tail band, drops of sealing wax on the wing.
const bark: MantineColorsTuple = [
  "#faf7f2",
  "#f3eee6",
  "#e6ded2",
  "#cfc4b4",
  "#b3a595",
  "#94867a",
  "#75685c",
  "#5d5146",
  "#3f352d",
  "#2a231d",
];
const soot: MantineColorsTuple = [
  "#f2ebe1",
  "#d5cabd",
  "#bdb0a1",
  "#9a8c7d",
  "#54483d",
  "#3a322b",
  "#2b2520",
  "#241f1b",
  "#1b1714",
  "#14110f",
];
const wing: MantineColorsTuple = [
  "#fdf7e4",
  "#fbefcf",
  "#f6df9f",
  "#f2d06f",
  "#eebf45",
  "#e9b730",
  "#c99714",
  "#96700c",
  "#7a5a08",
  "#574005",
];
const wax: MantineColorsTuple = [
  "#fdf0ee",
  "#fbe4e0",
  "#f4c2bb",
  "#ec9a90",
  "#e5776b",
  "#d5453a",
  "#c23329",
  "#b3261e",
  "#8f1d17",
  "#6b1510",
];
const moss: MantineColorsTuple = [
  "#f1f6ef",
  "#e4efe0",
  "#c6dcc0",
  "#a4c69d",
  "#82b07b",
  "#5d9160",
  "#4a7a4c",
  "#3d673f",
  "#2f5131",
  "#213a23",
];

// The main button is the mask in daylight and the tail band at night; the tokens of styles.css say which.
const variants: VariantColorsResolver = (input) => {
  const usual = defaultVariantColorsResolver(input);
  const main = !input.color || input.color === input.theme.primaryColor;
  if (!main) return usual;
  switch (input.variant) {
    case "filled":
      return {
        background: "var(--action)",
        hover: "var(--action-hover)",
        color: "var(--on-action)",
        border: "none",
      };
    case "light":
      return { background: "var(--sunken)", hover: "var(--line)", color: "var(--ink)", border: "none" };
    case "subtle":
    case "transparent":
      return { ...usual, hover: "var(--sunken)", color: "var(--ink)" };
    default:
      return usual;
  }
};

export const theme = createTheme({
  colors: { bark, gray: bark, dark: soot, wing, wax, red: wax, moss },
  primaryColor: "bark",
  primaryShade: { light: 8, dark: 3 },
  black: "#2a231d",
  white: "#ffffff",
  defaultRadius: "md",
  cursorType: "pointer",
  respectReducedMotion: true,
  variantColorResolver: variants,
  fontFamily:
    '"Inter Variable", Inter, "Segoe UI Variable", "Segoe UI", system-ui, -apple-system, Roboto, "Noto Sans", "Liberation Sans", sans-serif',
  fontFamilyMonospace:
    'ui-monospace, "SF Mono", "Cascadia Mono", "JetBrains Mono", "Liberation Mono", monospace',
  headings: { fontWeight: "650" },
  components: {
    // Said outright, because without a variant Mantine does not ask the resolver above.
    Button: { defaultProps: { variant: "filled", color: "bark" } },
    Tooltip: { defaultProps: { openDelay: 300, withArrow: true } },
    Modal: { defaultProps: { centered: true, radius: "lg" } },
  },
});
