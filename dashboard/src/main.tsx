import { MantineProvider } from "@mantine/core";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Problem } from "./api/client";
import { Live } from "./api/live";
import { NowProvider } from "./parts/Now";
import { SayProvider } from "./parts/Say";
import { App } from "./shell/App";
import { LiveContext } from "./shell/live";
import "./styles.css";
import "./shell/shell.css";
import "./parts/parts.css";
import { theme } from "./theme";

const slow = 30_000; // nothing asks faster by itself

const client: QueryClient = new QueryClient({
  defaultOptions: {
    queries: {
      networkMode: "always", // "offline" says nothing about a server on this machine or LAN
      staleTime: 5_000,
      refetchOnWindowFocus: false, // the stream, opened again, does that
      refetchInterval: () => (live.snapshot().status === "live" ? false : slow),
      retry: (count, error) =>
        count < 2 && !(error instanceof Problem && error.status > 0 && error.status < 500),
    },
    mutations: { networkMode: "always" },
  },
});
const live = new Live(client);

const root = document.getElementById("root");
if (!root) throw new Error("index.html has no element with the id root");
createRoot(root).render(
  <StrictMode>
    <MantineProvider theme={theme} defaultColorScheme="auto">
      <QueryClientProvider client={client}>
        <LiveContext value={live}>
          <NowProvider>
            <SayProvider>
              <App />
            </SayProvider>
          </NowProvider>
        </LiveContext>
      </QueryClientProvider>
    </MantineProvider>
  </StrictMode>,
);
