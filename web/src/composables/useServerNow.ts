import { useIntervalFn } from '@vueuse/core'
import { ref } from 'vue'
import type { Ref } from 'vue'
import { useLink } from '../stores/link'

/** The daemon's time in milliseconds, ticking. Ages of what the daemon stamped are measured on it, not on this computer's clock. */
export function useServerNow(options: { readonly everyMs: number }): Readonly<Ref<number>> {
  const link = useLink()
  const now = ref(Date.now() + link.clockOffsetMs)
  useIntervalFn(() => {
    now.value = Date.now() + link.clockOffsetMs
  }, options.everyMs)
  return now
}
