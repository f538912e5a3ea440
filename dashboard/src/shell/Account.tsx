import { ActionIcon, Group, Tooltip, useComputedColorScheme, useMantineColorScheme } from "@mantine/core";
import { IconLogout, IconMoon, IconSun } from "@tabler/icons-react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { api, read } from "../api/client";
import { session } from "../api/queries";
import { useSay } from "../parts/Say";

/** Who is signed in, the light switch, and the door. */
export function Account() {
  const { data } = useQuery(session());
  const { setColorScheme } = useMantineColorScheme();
  const scheme = useComputedColorScheme("light");
  const client = useQueryClient();
  const say = useSay();
  const leave = useMutation({
    mutationFn: () => read(api.DELETE("/session")),
    onSuccess: () => client.resetQueries(),
    onError: say.failed,
  });
  const other = scheme === "dark" ? "light" : "dark";
  return (
    <div className="account">
      <span title={data ? `May: ${data.scopes.join(", ")}` : undefined}>{data?.name ?? "…"}</span>
      <Group gap={2} wrap="nowrap">
        <Tooltip label={`Use ${other} colours`}>
          <ActionIcon
            variant="subtle"
            aria-label={`Use ${other} colours`}
            onClick={() => setColorScheme(other)}
          >
            {scheme === "dark" ? <IconSun size={17} /> : <IconMoon size={17} />}
          </ActionIcon>
        </Tooltip>
        <Tooltip label="Sign out">
          <ActionIcon
            variant="subtle"
            aria-label="Sign out"
            onClick={() => leave.mutate()}
            loading={leave.isPending}
          >
            <IconLogout size={17} />
          </ActionIcon>
        </Tooltip>
      </Group>
    </div>
  );
}
