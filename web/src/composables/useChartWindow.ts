import { useLocalStorage } from '@vueuse/core'

/** Stretches of time that a chart can show; the page keeps the last ten minutes. */
export const CHART_WINDOWS = [
  { ms: 30_000, label: '30 s', name: '30 seconds' },
  { ms: 60_000, label: '1 min', name: '1 minute' },
  { ms: 300_000, label: '5 min', name: '5 minutes' },
  { ms: 600_000, label: '10 min', name: '10 minutes' },
] as const

/** How much time the charts show, in milliseconds: one choice for the page, remembered. */
export function useChartWindow() {
  return useLocalStorage<number>('autobench.chartWindowMs', 60_000, {
    serializer: {
      read: (text) => CHART_WINDOWS.find((window) => String(window.ms) === text)?.ms ?? 60_000,
      write: String,
    },
  })
}
