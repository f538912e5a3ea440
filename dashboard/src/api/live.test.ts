import { expect, test } from "vitest";
import { Rounds } from "./live";

/** A promise that the test settles. */
function gate() {
  let open = () => {};
  const shut = new Promise<void>((done) => {
    open = done;
  });
  return { shut, open };
}

test("many changes are one question, and the last one is never lost", async () => {
  const asked: string[] = [];
  const answers = [gate(), gate()];
  const pauses = [gate(), gate()];
  let round = 0;
  const rounds = new Rounds(
    async ([kind]) => {
      asked.push(String(kind));
      await answers[round]?.shut;
    },
    () => pauses[round]?.shut ?? Promise.resolve(),
  );

  rounds.add([["device"], ["overview"]]);
  expect(asked).toEqual(["device", "overview"]);

  // While the first round is on its way, a hundred more changes come.
  for (let i = 0; i < 100; i++) rounds.add([["device"]]);
  expect(asked).toHaveLength(2);

  // Answers alone do not start the next round: the pause has to pass too.
  answers[0]?.open();
  await Promise.resolve();
  expect(asked).toHaveLength(2);

  const first = pauses[0];
  round = 1;
  first?.open();
  await settled();
  expect(asked).toEqual(["device", "overview", "device"]);

  answers[1]?.open();
  pauses[1]?.open();
  await settled();
  expect(asked).toHaveLength(3);
});

test("a question that fails does not end the rounds", async () => {
  const asked: string[] = [];
  const rounds = new Rounds(
    ([kind]) => {
      asked.push(String(kind));
      return Promise.reject(new Error("away"));
    },
    () => Promise.resolve(),
  );
  rounds.add([["device"]]);
  await settled();
  rounds.add([["group"]]);
  await settled();
  expect(asked).toEqual(["device", "group"]);
});

/** Lets everything that waits for settled promises run. */
const settled = () => new Promise<void>((done) => setTimeout(done, 0));
