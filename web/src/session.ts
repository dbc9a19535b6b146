/**
 * The page's session with a daemon that asks for tokens: the token is given once, and the browser keeps a cookie that no script can read.
 */

export type Begun = { readonly ok: true } | { readonly ok: false; readonly reason: string }

/** Gives the token for a session. The reason is the daemon's own, for a person. */
export async function beginSession(token: string, ask: typeof fetch = fetch): Promise<Begun> {
  try {
    const response = await ask('/api/v1/session', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      credentials: 'same-origin',
      cache: 'no-store',
      body: JSON.stringify({ token }),
    })
    if (response.ok) return { ok: true }
    return { ok: false, reason: detailOf(await response.text()) ?? `The daemon answered ${response.status}.` }
  } catch {
    return { ok: false, reason: 'The daemon cannot be reached.' }
  }
}

function detailOf(text: string): string | null {
  try {
    const body: unknown = JSON.parse(text)
    if (typeof body !== 'object' || body === null || !('detail' in body)) return null
    return typeof body.detail === 'string' ? body.detail : null
  } catch {
    return null
  }
}
