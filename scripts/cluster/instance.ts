import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/**
 * How a web server fails. `crash`: its connections break, and it refuses new ones. `freeze`: it accepts connections and
 * does nothing. `mute`: it executes requests, and its answers get lost.
 */
export type Failure = 'crash' | 'freeze' | 'mute'

export interface Address {
  host: string
  port: number
}

const HOST = '127.0.0.1'

/**
 * A web server as its clients see it: a TCP relay in front of a Worker in the local runtime. The relay can fail without
 * the runtime, which also runs the other servers.
 */
export class Instance {
  readonly name: string
  /** Where the Worker listens. */
  target: Address
  /** Headers without which the Worker refuses a request. */
  readonly headers: Record<string, string>
  #failure: Failure | null = null
  #port = 0
  #server: Server | null = null
  /** The open connections of clients and, once it is connected, each one's connection to the Worker. */
  readonly #sockets = new Map<Socket, Socket | null>()

  private constructor(name: string, target: Address, headers: Record<string, string>) {
    this.name = name
    this.target = target
    this.headers = headers
  }

  static async start(name: string, target: Address, headers: Record<string, string> = {}): Promise<Instance> {
    const instance = new Instance(name, target, headers)
    await instance.start()
    return instance
  }

  get failure(): Failure | null {
    return this.#failure
  }

  /** Changes with each start after a crash. */
  get address(): Address {
    return { host: HOST, port: this.#port }
  }

  /** Fails until the next `start`. */
  fail(failure: Failure): void {
    this.#failure = failure
    if (failure === 'crash') {
      this.#server?.close()
      this.#server = null
      this.#breakConnections()
    }
    for (const [client, worker] of this.#sockets) if (worker) this.#relay(client, worker)
  }

  /** Serves requests, for the first time or again. Ends a failure, and breaks its connections. */
  async start(): Promise<void> {
    this.#failure = null
    this.#breakConnections()
    if (this.#server) return
    this.#server = createServer((client) => this.#accept(client)).listen(0, HOST)
    await once(this.#server, 'listening')
    this.#port = (this.#server.address() as AddressInfo).port
  }

  async close(): Promise<void> {
    this.#breakConnections()
    const server = this.#server
    this.#server = null
    if (!server) return
    server.close()
    await once(server, 'close')
  }

  #accept(client: Socket): void {
    const worker = this.#failure === 'freeze' ? null : connect(this.target)
    this.#sockets.set(client, worker)
    const end = () => {
      this.#sockets.delete(client)
      client.destroy()
      worker?.destroy()
    }
    client.on('error', end).on('close', end)
    // While a server fails, its client does not notice that the Worker has ended the connection.
    const endOfWorker = () => {
      if (this.#failure === null) end()
      else if (this.#sockets.has(client)) this.#sockets.set(client, null)
    }
    worker?.on('error', endOfWorker).on('close', endOfWorker)
    if (worker) this.#relay(client, worker)
  }

  #relay(client: Socket, worker: Socket): void {
    client.unpipe()
    worker.unpipe()
    if (this.#failure === 'freeze') return
    client.pipe(worker)
    if (this.#failure === 'mute') worker.resume()
    else worker.pipe(client)
  }

  #breakConnections(): void {
    for (const [client, worker] of this.#sockets) {
      client.destroy()
      worker?.destroy()
    }
    this.#sockets.clear()
  }
}
