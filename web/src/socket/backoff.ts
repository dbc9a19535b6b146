import type { WsConfig } from '../wire/slices'

/**
 * How long to wait before attempt number `attempt` (1 is the first): exponential up to the daemon's maximum, then spread by its jitter
 * so that a hall of screens does not come back in the same instant.
 */
export function backoffMs(attempt: number, ws: WsConfig, random: () => number): number {
  const base = Math.min(ws.reconnectMaxMs, ws.reconnectMinMs * ws.reconnectFactor ** (attempt - 1))
  return Math.round(base * (1 + ws.reconnectJitter * (2 * random() - 1)))
}
