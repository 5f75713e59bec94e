const MESSAGES_MAX = 100
const BATCH_BYTES_MAX = 256_000
const MESSAGE_BYTES_MAX = 128_000
/** The size that Queues adds to each message and counts. */
const METADATA_BYTES = 100

/**
 * A queue's producer with the documented limits (developers.cloudflare.com/queues/platform/limits; 1 KB is 1,000
 * bytes). The local runtime accepts 288,000 bytes per batch and counts no metadata. A batch is accepted whole or not at
 * all.
 */
export class UnkindQueue<T> {
  readonly sent: T[] = []
  /** The number of messages of each call, whether it was accepted or not. */
  readonly calls: number[] = []
  /** Called with each batch's bodies. If it throws, the batch fails. */
  onBatch: (bodies: T[]) => Promise<void> | void = () => undefined

  /** The producer's binding. */
  get binding(): Queue<T> {
    return { sendBatch: (messages) => this.#sendBatch([...messages]) } as Queue<T>
  }

  async #sendBatch(messages: MessageSendRequest<T>[]): Promise<QueueSendBatchResponse> {
    this.calls.push(messages.length)
    const bodies = messages.map(({ body }) => JSON.stringify(body))
    const bytes = bodies.map((text) => new TextEncoder().encode(text).byteLength + METADATA_BYTES)
    const total = bytes.reduce((sum, one) => sum + one, 0)
    if (bodies.length > MESSAGES_MAX) throw new Error('Queue sendBatch failed: Bad Request')
    if (total > BATCH_BYTES_MAX || bytes.some((one) => one > MESSAGE_BYTES_MAX))
      throw new Error('Queue sendBatch failed: Payload Too Large')
    const arrived = bodies.map((text) => JSON.parse(text) as T)
    await this.onBatch(arrived)
    this.sent.push(...arrived)
    return { metadata: { metrics: { backlogCount: 0, backlogBytes: 0 } } }
  }
}
