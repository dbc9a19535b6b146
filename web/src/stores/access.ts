import { acceptHMRUpdate, defineStore } from 'pinia'
import { ref } from 'vue'
import type { Rest } from '../rest'

/** Who is before the page, by the daemon. While it is not known nothing is forbidden here: the daemon decides in any case. */
export const useAccess = defineStore('access', () => {
  const actor = ref<string | null>(null)
  const role = ref<string | null>(null)

  async function refresh(rest: Rest): Promise<void> {
    const who = await rest.who()
    actor.value = who?.actor ?? null
    role.value = who?.role ?? null
  }

  return { actor, role, refresh }
})

if (import.meta.hot) import.meta.hot.accept(acceptHMRUpdate(useAccess, import.meta.hot))
