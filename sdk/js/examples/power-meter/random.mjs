// Random numbers for tests, from a seed that is printed: AUTOBENCH_SEED, or any.

export function random() {
  let state = Number(process.env.AUTOBENCH_SEED) || Math.floor(Math.random() * 2 ** 32)
  console.log(`seed ${state}`)
  return {
    /** A whole number from 0 on, less than this one; by mulberry32. */
    below(limit) {
      state = (state + 0x6d2b79f5) | 0
      let mixed = Math.imul(state ^ (state >>> 15), state | 1)
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
      return ((mixed ^ (mixed >>> 14)) >>> 0) % limit
    },
  }
}
