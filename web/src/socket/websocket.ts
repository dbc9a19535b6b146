import type { Opener } from './client'

/** The socket of the daemon that served the page. */
export function socketAddress(page: Pick<Location, 'protocol' | 'host'>): string {
  return `${page.protocol === 'https:' ? 'wss' : 'ws'}://${page.host}/ws`
}

/** Opens real WebSockets. */
export function webSocketOpener(address: string): Opener {
  return (resume, events) => {
    const socket = new WebSocket(resume === null ? address : `${address}?resume=${encodeURIComponent(resume)}`, 'autobench.v1')
    socket.onopen = () => events.open()
    socket.onmessage = (event: MessageEvent<unknown>) => {
      // The daemon speaks text only; what is not text decodes to a named fault.
      events.message(typeof event.data === 'string' ? event.data : '')
    }
    socket.onclose = (event) => events.close(event.code, event.reason)
    return {
      send(message) {
        if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message))
      },
      close(code, reason) {
        socket.close(code, reason)
      },
    }
  }
}
