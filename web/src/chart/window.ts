import type { Series } from './series'

export interface Statistics {
  readonly low: number
  readonly high: number
  readonly avg: number
  /** The newest. */
  readonly last: number
  readonly count: number
}

/** What uPlot draws: seconds, and values where null is a gap. */
export interface Columns {
  readonly seconds: number[]
  readonly values: (number | null)[]
}

/** Low, high, mean and newest of the samples from `fromMs` to `toMs`; null when there are none. */
export function statistics(series: Series, fromMs: number, toMs: number): Statistics | null {
  const { timestamps, values } = series
  let low = Infinity
  let high = -Infinity
  let sum = 0
  let last = Number.NaN
  let count = 0
  for (let i = series.indexFrom(fromMs); i < values.length && (timestamps[i] as number) <= toMs; i += 1) {
    const value = values[i] as number
    if (value < low) low = value
    if (value > high) high = value
    sum += value
    last = value
    count += 1
  }
  return count === 0 ? null : { low, high, avg: sum / count, last, count }
}

/** A pause this many times longer than the usual step between two samples is a gap. */
const GAP_STEPS = 2.5
const GAP_MIN_MS = 100
/** Steps on each side of a pause that say what is usual there: a meter's interval may have been changed meanwhile. */
const NEIGHBOURS = 8

/**
 * Says for neighbouring samples whether the line between them would claim something nobody measured. `at` is the index of the later one.
 */
export function gapFinder(timestamps: Float64Array): (at: number) => boolean {
  const recent = medianStep(timestamps, timestamps.length - 120, timestamps.length)
  return (at) => {
    const step = (timestamps[at] as number) - (timestamps[at - 1] as number)
    if (step <= Math.max(GAP_MIN_MS, GAP_STEPS * recent)) return false
    return step > Math.max(GAP_MIN_MS, GAP_STEPS * medianStep(timestamps, at - NEIGHBOURS, at + NEIGHBOURS + 1))
  }
}

/** Median distance of consecutive samples from index `from` to before `to`; 0 when there is no step to measure. */
function medianStep(timestamps: Float64Array, from: number, to: number): number {
  const steps: number[] = []
  for (let i = Math.max(1, from); i < Math.min(timestamps.length, to); i += 1) {
    steps.push((timestamps[i] as number) - (timestamps[i - 1] as number))
  }
  // Two samples are no evidence of a gap between them, so the lower middle is not taken.
  return steps.sort((a, b) => a - b)[steps.length >> 1] ?? 0
}

/**
 * The samples of a window, ready to draw: a null inside each gap, and, when there are more samples than `buckets` can show, the lowest
 * and highest of each bucket so that no peak is lost. The sample just before the window comes along: the line enters from the left edge.
 */
export function windowColumns(series: Series, fromMs: number, toMs: number, buckets: number): Columns {
  const { timestamps, values } = series
  const isGap = gapFinder(timestamps)
  const first = Math.max(0, series.indexFrom(fromMs) - 1)
  const last = series.indexFrom(toMs + 1)
  const columns: Columns = { seconds: [], values: [] }
  const width = last - first > 2 * buckets ? Math.max(1, (toMs - fromMs) / buckets) : 0
  for (let i = first; i < last; ) {
    const time = timestamps[i] as number
    if (i > first && isGap(i)) push(columns, ((timestamps[i - 1] as number) + time) / 2, null)
    let end = i + 1
    const bucketEnd = width === 0 ? time : fromMs + (Math.floor((time - fromMs) / width) + 1) * width
    while (end < last && (timestamps[end] as number) < bucketEnd && !isGap(end)) end += 1
    pushExtremes(columns, timestamps, values, i, end)
    i = end
  }
  return columns
}

function pushExtremes(columns: Columns, timestamps: Float64Array, values: Float64Array, start: number, end: number): void {
  let low = start
  let high = start
  for (let i = start + 1; i < end; i += 1) {
    if ((values[i] as number) < (values[low] as number)) low = i
    if ((values[i] as number) > (values[high] as number)) high = i
  }
  const early = Math.min(low, high)
  const late = Math.max(low, high)
  push(columns, timestamps[early] as number, values[early] as number)
  if (late !== early) push(columns, timestamps[late] as number, values[late] as number)
}

function push(columns: Columns, timestampMs: number, value: number | null): void {
  columns.seconds.push(timestampMs / 1000)
  columns.values.push(value)
}
