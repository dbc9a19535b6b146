import { useLocalStorage, usePreferredDark } from '@vueuse/core'
import { computed, watchEffect } from 'vue'

export type ThemeChoice = 'auto' | 'light' | 'dark'

/** The theme: what the system prefers unless the engineer chose one. Applied to the root element, so call it once, in the app. */
export function useTheme() {
  const systemIsDark = usePreferredDark()
  const choice = useLocalStorage<ThemeChoice>('autobench.theme', 'auto', {
    serializer: { read: (text) => (text === 'light' || text === 'dark' ? text : 'auto'), write: (value) => value },
  })
  const theme = computed(() => (choice.value === 'auto' ? (systemIsDark.value ? 'dark' : 'light') : choice.value))
  watchEffect(() => {
    document.documentElement.dataset['theme'] = theme.value
  })

  /** From the system's theme to the other one, then the system's own by choice, then back: the first press always shows. */
  function next(): void {
    const system = systemIsDark.value ? 'dark' : 'light'
    const other = systemIsDark.value ? 'light' : 'dark'
    choice.value = choice.value === 'auto' ? other : choice.value === other ? system : 'auto'
  }

  return { choice, theme, next }
}
