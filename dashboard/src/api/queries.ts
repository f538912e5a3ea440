import { keepPreviousData, queryOptions } from "@tanstack/react-query";
import { api, given, read, type Schemas } from "./client";
import { keys } from "./keys";

// One function for each question that the page asks. Lists keep what they show while the next page is on its way.

export const session = () =>
  queryOptions({
    queryKey: keys.session,
    queryFn: ({ signal }) => read(api.GET("/session", { signal })),
    staleTime: 60_000,
  });

export const overview = () =>
  queryOptions({ queryKey: keys.overview, queryFn: ({ signal }) => read(api.GET("/overview", { signal })) });

export interface DeviceQuery {
  filter?: string | undefined;
  search?: string | undefined;
  page?: string | undefined;
  size?: number | undefined;
}

export const devices = ({ filter, search, page, size }: DeviceQuery) =>
  queryOptions({
    queryKey: [...keys.devices, filter ?? "", search ?? "", page ?? "", size ?? 0],
    queryFn: ({ signal }) =>
      read(
        api.GET("/devices", {
          signal,
          params: { query: given({ filter, search, page_token: page, page_size: size }) },
        }),
      ),
    placeholderData: keepPreviousData,
  });

export const device = (id: string) =>
  queryOptions({
    queryKey: keys.device(id),
    queryFn: ({ signal }) => read(api.GET("/devices/{id}", { signal, params: { path: { id } } })),
  });

export const sites = (page?: string) =>
  queryOptions({
    queryKey: [...keys.sites, page ?? ""],
    queryFn: ({ signal }) =>
      read(api.GET("/sites", { signal, params: { query: given({ page_token: page }) } })),
    placeholderData: keepPreviousData,
  });

export interface SitePart {
  search?: string | undefined;
  show?: Schemas["SiteShow"] | undefined;
  order?: Schemas["SiteOrder"] | undefined;
  page?: string | undefined;
}

export const site = (id: string, { search, show, order, page }: SitePart) =>
  queryOptions({
    queryKey: [...keys.site(id), search ?? "", show ?? "", order ?? "", page ?? ""],
    queryFn: ({ signal }) =>
      read(
        api.GET("/sites/{id}", {
          signal,
          params: { path: { id }, query: given({ search, show, order, page_token: page, page_size: 50 }) },
        }),
      ),
    // Another part of the same site leaves the old one in sight; another site does not.
    placeholderData: (last) => (last?.site.id === id ? last : undefined),
  });

export const groups = () =>
  queryOptions({
    queryKey: keys.groups,
    queryFn: async ({ signal }) => (await read(api.GET("/groups", { signal }))).items,
  });

export const products = () =>
  queryOptions({
    queryKey: keys.products,
    queryFn: async ({ signal }) => (await read(api.GET("/products", { signal }))).items,
  });

export const releases = (page?: string, product?: string, size?: number) =>
  queryOptions({
    queryKey: [...keys.releases, page ?? "", product ?? "", size ?? 0],
    queryFn: ({ signal }) =>
      read(
        api.GET("/releases", {
          signal,
          params: { query: given({ page_token: page, product, page_size: size }) },
        }),
      ),
    placeholderData: keepPreviousData,
  });

export const release = (product: string, version: string) =>
  queryOptions({
    queryKey: keys.release(`${product}/${version}`),
    queryFn: ({ signal }) =>
      read(api.GET("/releases/{product}/{version}", { signal, params: { path: { product, version } } })),
  });

/** What its pipeline says about a release; asked for again with the release. */
export const attestations = (product: string, version: string) =>
  queryOptions({
    queryKey: [...keys.release(`${product}/${version}`), "attestations"],
    queryFn: ({ signal }) =>
      read(
        api.GET("/releases/{product}/{version}/attestations", {
          signal,
          params: { path: { product, version } },
        }),
      ),
  });

export const rollouts = (page?: string) =>
  queryOptions({
    queryKey: [...keys.rollouts, page ?? ""],
    queryFn: ({ signal }) =>
      read(api.GET("/rollouts", { signal, params: { query: given({ page_token: page }) } })),
    placeholderData: keepPreviousData,
  });

export const rollout = (id: string) =>
  queryOptions({
    queryKey: keys.rollout(id),
    queryFn: ({ signal }) => read(api.GET("/rollouts/{id}", { signal, params: { path: { id } } })),
  });

export interface Slice {
  stage?: number | undefined;
  status?: Schemas["Status"] | undefined;
  reason?: string | undefined;
  page?: string | undefined;
}

export const rolloutDevices = (id: string, { stage, status, reason, page }: Slice) =>
  queryOptions({
    queryKey: [...keys.rolloutDevices(id), stage ?? -1, status ?? "", reason ?? "", page ?? ""],
    queryFn: ({ signal }) =>
      read(
        api.GET("/rollouts/{id}/devices", {
          signal,
          params: { path: { id }, query: given({ stage, status, reason, page_token: page }) },
        }),
      ),
    placeholderData: keepPreviousData,
  });

/** Who would be in and who out; nothing is started. */
export const dryRun = (wish: Schemas["NewRollout"] | null) =>
  queryOptions({
    queryKey: ["dry-run", wish],
    queryFn: ({ signal }) =>
      read(
        api.POST("/rollouts", {
          signal,
          params: { query: { dry_run: true } },
          body: wish as Schemas["NewRollout"],
        }),
      ),
    enabled: wish !== null,
    placeholderData: keepPreviousData,
  });

export const tokens = () =>
  queryOptions({
    queryKey: keys.tokens,
    queryFn: async ({ signal }) => (await read(api.GET("/tokens", { signal }))).items,
  });

export const audit = (page?: string) =>
  queryOptions({
    queryKey: [...keys.audit, page ?? ""],
    queryFn: ({ signal }) =>
      read(api.GET("/audit", { signal, params: { query: given({ page_token: page }) } })),
    placeholderData: keepPreviousData,
  });
