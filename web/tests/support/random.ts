/** Numbers in [0, 1) that are the same for the same seed, so that a failure can be had again. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

/** The seed of this run: `AUTOBENCH_SEED`, or a new one. Tests put it into their names, so a failure prints it. */
export const SEED = Number(process.env['AUTOBENCH_SEED'] ?? Date.now() % 1_000_000)

/** `few` rounds, or `many` with AUTOBENCH_LONG=1. */
export function rounds(few: number, many: number): number {
  return process.env['AUTOBENCH_LONG'] === '1' ? many : few
}
