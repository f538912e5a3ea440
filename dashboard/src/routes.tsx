import { createRootRoute, createRoute, createRouter, lazyRouteComponent } from "@tanstack/react-router";
import { Lost } from "./shell/Lost";
import { Shell } from "./shell/Shell";
import { plainSearch, texts, toSearch } from "./shell/search";

// Each screen is a file of its own that is loaded when it is first shown.

const root = createRootRoute({ component: Shell, notFoundComponent: Lost });
const at = <const P extends string>(path: P) => ({ getParentRoute: () => root, path });

const routes = [
  createRoute({
    ...at("/"),
    component: lazyRouteComponent(() => import("./screens/overview/Overview"), "Overview"),
  }),
  createRoute({
    ...at("/devices"),
    validateSearch: texts("filter", "search", "page"),
    component: lazyRouteComponent(() => import("./screens/devices/Devices"), "Devices"),
  }),
  createRoute({
    ...at("/devices/$id"),
    component: lazyRouteComponent(() => import("./screens/device/Device"), "Device"),
  }),
  createRoute({
    ...at("/sites"),
    validateSearch: texts("page"),
    component: lazyRouteComponent(() => import("./screens/sites/Sites"), "Sites"),
  }),
  createRoute({
    ...at("/sites/$id"),
    validateSearch: texts("search", "show", "order", "bars", "page"),
    component: lazyRouteComponent(() => import("./screens/site/Site"), "Site"),
  }),
  createRoute({
    ...at("/groups"),
    component: lazyRouteComponent(() => import("./screens/groups/Groups"), "Groups"),
  }),
  createRoute({
    ...at("/releases"),
    validateSearch: texts("page", "product"),
    component: lazyRouteComponent(() => import("./screens/releases/Releases"), "Releases"),
  }),
  createRoute({
    ...at("/releases/new"),
    component: lazyRouteComponent(() => import("./screens/release-new/NewRelease"), "NewRelease"),
  }),
  createRoute({
    ...at("/releases/$product/$version"),
    component: lazyRouteComponent(() => import("./screens/release/Release"), "Release"),
  }),
  createRoute({
    ...at("/rollouts"),
    validateSearch: texts("page"),
    component: lazyRouteComponent(() => import("./screens/rollouts/Rollouts"), "Rollouts"),
  }),
  createRoute({
    ...at("/rollouts/new"),
    validateSearch: texts("release", "group"),
    component: lazyRouteComponent(() => import("./screens/rollout-new/NewRollout"), "NewRollout"),
  }),
  createRoute({
    ...at("/rollouts/$id"),
    validateSearch: texts("stage", "status", "reason", "page"),
    component: lazyRouteComponent(() => import("./screens/rollout/Rollout"), "Rollout"),
  }),
  createRoute({
    ...at("/tokens"),
    component: lazyRouteComponent(() => import("./screens/tokens/Tokens"), "Tokens"),
  }),
  createRoute({
    ...at("/activity"),
    validateSearch: texts("page"),
    component: lazyRouteComponent(() => import("./screens/activity/Activity"), "Activity"),
  }),
] as const;

export const router = createRouter({
  routeTree: root.addChildren(routes),
  defaultPreload: "intent",
  parseSearch: plainSearch,
  stringifySearch: toSearch,
  scrollRestoration: true,
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
