// Telemetry columns: bounded, ordered, without repetitions; windows with their gaps, peaks and statistics.

import { createPinia, setActivePinia } from 'pinia'
import { describe, expect, it } from 'vitest'
import { niceRange } from '../src/chart/scale'
import { SERIES_CAPACITY, SERIES_SPAN_MS, Series } from '../src/chart/series'
import { statistics, windowColumns } from '../src/chart/window'
import { useTelemetry } from '../src/stores/telemetry'
import type { Sample, TelemetryFrame } from '../src/wire/types'
import { SEED, rounds, seeded } from './support/random'

const T0 = 1_767_225_600_000

function series(samples: readonly Sample[]): Series {
  const made = new Series(1, 'meter.watts', 'W')
  made.add(samples)
  return made
}

function every(stepMs: number, count: number, from = T0): Sample[] {
  return Array.from({ length: count }, (_, i): Sample => [from + i * stepMs, i])
}

function samplesOf(made: Series): Sample[] {
  return Array.from(made.timestamps, (at, i): Sample => [at, made.values[i] as number])
}

describe('Series', () => {
  it('drops what it already has when the ring comes again after a reconnect, and fills what it missed', () => {
    const made = series(every(1_000, 10))
    made.add(every(1_000, 25))
    expect(samplesOf(made)).toEqual(every(1_000, 25))
  })

  it('puts the ring before samples that were live first', () => {
    const made = series([[T0 + 5_000, 5]])
    made.add(every(1_000, 6))
    expect(samplesOf(made)).toEqual(every(1_000, 6))
  })

  it('keeps ten minutes', () => {
    const made = series(every(1_000, 1_000))
    expect(made.length).toBe(SERIES_SPAN_MS / 1_000 + 1)
    expect(made.timestamps[0]).toBe(T0 + 999_000 - SERIES_SPAN_MS)
  })

  it('keeps a bounded number of samples, the newest', () => {
    const made = series([])
    for (let i = 0; i < 3; i += 1) made.add(every(1, SERIES_CAPACITY, T0 + i * SERIES_CAPACITY))
    expect(made.length).toBeLessThanOrEqual(SERIES_CAPACITY)
    expect(made.length).toBeGreaterThan(SERIES_CAPACITY / 2)
    expect(made.timestamps.at(-1)).toBe(T0 + 3 * SERIES_CAPACITY - 1)
  })

  it('starts anew when the daemon’s clock was set far back', () => {
    const made = series(every(1_000, 10))
    made.add([[T0 - 2 * SERIES_SPAN_MS, 7]])
    expect(samplesOf(made)).toEqual([[T0 - 2 * SERIES_SPAN_MS, 7]])
  })

  it(`holds each timestamp once, in order, whatever the order of arrival (seed ${SEED})`, () => {
    const random = seeded(SEED)
    for (let round = 0; round < rounds(100, 5_000); round += 1) {
      const made = series([])
      const expected = new Map<number, number>()
      for (let batch = 0; batch < 8; batch += 1) {
        const from = Math.floor(random() * 400)
        const samples = Array.from({ length: Math.floor(random() * 80) }, (_, i): Sample => [T0 + (from + i) * 250, (from + i) * 250])
        made.add(samples)
        for (const [at, value] of samples) expected.set(at, value)
      }
      expect(samplesOf(made)).toEqual([...expected].sort((a, b) => a[0] - b[0]))
    }
  })
})

describe('windowColumns', () => {
  it('draws samples that follow each other as one line', () => {
    const made = series(every(1_000, 10))
    expect(windowColumns(made, T0, T0 + 9_000, 500).values).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  })

  it('draws a gap where samples are missing, and jitter is none', () => {
    const jittery: Sample[] = [[T0, 1], [T0 + 900, 2], [T0 + 2_100, 3], [T0 + 3_000, 4]]
    expect(windowColumns(series(jittery), T0, T0 + 3_000, 500).values).toEqual([1, 2, 3, 4])
    const made = series([...every(1_000, 10), ...every(1_000, 10, T0 + 20_000)])
    const { seconds, values } = windowColumns(made, T0, T0 + 30_000, 500)
    expect(values.indexOf(null)).toBe(10)
    expect(values.filter((value) => value === null)).toHaveLength(1)
    expect(seconds[10]).toBe((T0 + 14_500) / 1_000)
  })

  it('a slower interval after a change of settings is no row of gaps', () => {
    const made = series([...every(10_000, 20), ...every(1_000, 100, T0 + 200_000)])
    expect(windowColumns(made, T0, T0 + 300_000, 500).values).not.toContain(null)
  })

  it('lets the line enter from before the window', () => {
    const made = series(every(1_000, 10))
    expect(windowColumns(made, T0 + 4_500, T0 + 9_000, 500).values[0]).toBe(4)
  })

  it('keeps every peak when there are more samples than pixels, in ascending time', () => {
    const random = seeded(SEED)
    const made = series(every(10, 20_000).map(([at]): Sample => [at, Math.floor(random() * 10)]))
    const spiked = series(samplesOf(made).map(([at, value], i): Sample => [at, i === 12_345 ? 999 : i === 4_321 ? -999 : value]))
    const { seconds, values } = windowColumns(spiked, T0, T0 + 200_000, 300)
    expect(values.length).toBeLessThanOrEqual(2 * 301 + 2)
    expect(values).toContain(999)
    expect(values).toContain(-999)
    expect([...seconds].sort((a, b) => a - b)).toEqual(seconds)
  })

  it('has nothing to draw without samples', () => {
    expect(windowColumns(series([]), T0, T0 + 1_000, 300)).toEqual({ seconds: [], values: [] })
  })
})

describe('statistics', () => {
  it('are those of the samples in the window, ends included', () => {
    const made = series(every(1_000, 10))
    expect(statistics(made, T0 + 2_000, T0 + 5_000)).toEqual({ low: 2, high: 5, avg: 3.5, last: 5, count: 4 })
    expect(statistics(made, T0 + 60_000, T0 + 90_000)).toBeNull()
  })
})

describe('niceRange', () => {
  it.each([
    [61, 186, [0, 200]],
    [150, 186, [150, 190]],
    [229.9, 230.1, [225, 235]],
    [0, 0, [0, 1]],
    [0.0001, 0.0001, [0, 0.0006]],
    [-5, 5, [-5, 5]],
    [null, null, [0, 1]],
  ] as const)('from %s to %s holds the data between round ends', (low, high, [bottom, top]) => {
    const [from, to] = niceRange(low, high)
    expect(from).toBeCloseTo(bottom, 6)
    expect(to).toBeCloseTo(top, 6)
    expect(to).toBeGreaterThan(from)
  })
})

describe('the telemetry store', () => {
  const frame = (over: Partial<TelemetryFrame>): TelemetryFrame => ({ type: 'telemetry', endpointId: 1, endpoint: 'meter.watts', unit: 'W', samples: [[T0, 1]], ...over })

  it('keeps a series per endpoint and tells its listeners only', () => {
    setActivePinia(createPinia())
    const telemetry = useTelemetry()
    let calls = 0
    const stop = telemetry.listen(1, () => (calls += 1))
    telemetry.take(frame({}))
    telemetry.take(frame({ endpointId: 2, endpoint: 'meter.volts' }))
    expect(calls).toBe(1)
    stop()
    telemetry.take(frame({ samples: [[T0 + 1, 1]] }))
    expect(calls).toBe(1)
    expect(telemetry.get(1)?.length).toBe(2)
    expect(telemetry.get(3)).toBeNull()
  })

  it('starts anew when an id names another endpoint', () => {
    setActivePinia(createPinia())
    const telemetry = useTelemetry()
    telemetry.take(frame({}))
    telemetry.take(frame({ endpoint: 'other.watts', samples: [[T0 + 9, 9]] }))
    expect(telemetry.get(1)?.length).toBe(1)
    expect(telemetry.get(1)?.endpoint).toBe('other.watts')
  })
})
