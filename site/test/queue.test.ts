import { expect, test } from "vitest";

import { Queue, RANK } from "../src/server/queue.ts";

/** Return a queue, the names of the steps that were done, and a function that queues a job. */
function start() {
  const done: string[] = [];
  const owners: (string | null)[] = [];
  const queue = new Queue((owner) => owners.push(owner));
  const add = (rank: number, name: string, { steps = 1, signal }: Options = {}) =>
    queue.run(
      rank,
      name,
      async (pause) => {
        for (let step = 1; step <= steps; step++) {
          if (step > 1) await pause();
          done.push(steps > 1 ? `${name}${step}` : name);
        }
        return name;
      },
      signal,
    );
  return { queue, add, done, owners };
}

interface Options {
  steps?: number;
  signal?: AbortSignal;
}

test("the most urgent job is done first, then the oldest", async () => {
  const { add, done } = start();
  const jobs = [
    add(RANK.preparation, "a"),
    add(RANK.preparation, "b"),
    add(RANK.picture, "c"),
    add(RANK.picture, "d"),
  ];
  expect(await Promise.all(jobs)).toEqual(["a", "b", "c", "d"]);
  expect(done).toEqual(["c", "d", "a", "b"]);
});

test("a more urgent job goes first at a pause; its owner is to blame meanwhile", async () => {
  const { queue, add, done, owners } = start();
  await queue.run(RANK.preparation, "slow", async (pause) => {
    const urgent = add(RANK.picture, "urgent");
    done.push("slow1");
    await pause();
    done.push("slow2");
    await urgent;
  });
  expect(done).toEqual(["slow1", "urgent", "slow2"]);
  await expect.poll(() => owners).toEqual(["slow", "urgent", "slow", null]);
});

test("a job of the same rank waits until another has ended", async () => {
  const { add, done } = start();
  await Promise.all([add(RANK.result, "a", { steps: 3 }), add(RANK.result, "b")]);
  expect(done).toEqual(["a1", "a2", "a3", "b"]);
});

test("a job that waits is cancelled at once, one that runs at its next pause", async () => {
  const { queue, add, done } = start();
  const [first, second] = [new AbortController(), new AbortController()];
  const running = queue.run(
    RANK.result,
    "running",
    async (pause) => {
      done.push("started");
      first.abort(new Error("enough"));
      second.abort(new Error("not needed"));
      await pause();
      done.push("never");
    },
    first.signal,
  );
  const waiting = add(RANK.result, "waiting", { signal: second.signal });
  await expect(waiting).rejects.toThrow("not needed");
  await expect(running).rejects.toThrow("enough");
  expect(done).toEqual(["started"]);
  expect(await add(RANK.result, "next")).toBe("next");
});

test("an error ends its job only", async () => {
  const { queue, add } = start();
  const failing = queue.run(RANK.picture, "x", () => Promise.reject(new Error("broken")));
  const other = add(RANK.picture, "other");
  await expect(failing).rejects.toThrow("broken");
  expect(await other).toBe("other");
});

test("the position counts the jobs that wait", async () => {
  const { queue, add } = start();
  const jobs = [add(RANK.result, "a", { steps: 2 }), add(RANK.result, "b"), add(RANK.result, "c")];
  expect(["a", "b", "c"].map((owner) => queue.position(owner))).toEqual([null, 1, 2]);
  await Promise.all(jobs);
  expect(queue.position("c")).toBeNull();
});
