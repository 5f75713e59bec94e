import { type Clock, inTime } from '../core/clock.ts'
import { BanyanError } from '../core/errors.ts'
import { limits } from '../core/limits.ts'

/** The part of `R2Bucket` that objects use. */
export type ObjectBucket = Pick<R2Bucket, 'get' | 'put' | 'head' | 'delete' | 'list'>

export interface StoredObject {
  body: ReadableStream
  /** As in the header, with quotes. */
  etag: string
  type: string
  bytes(): Promise<Uint8Array>
}

interface ListedObject {
  key: string
  uploadedAt: number // ms
}

/** Whole objects in R2, for requests and jobs. Each call is bounded, and throws STORE_UNAVAILABLE if R2 fails. */
export class Objects {
  readonly #bucket: ObjectBucket
  readonly #clock: Clock

  constructor(bucket: ObjectBucket, clock: Clock) {
    this.#bucket = bucket
    this.#clock = clock
  }

  /** Never replaces an object, so what a key names never changes, even if a job runs twice. */
  async put(key: string, bytes: Uint8Array, type: string): Promise<void> {
    const options = { onlyIf: { etagDoesNotMatch: '*' }, httpMetadata: { contentType: type } }
    await this.#inTime(this.#bucket.put(key, bytes, options))
  }

  async find(key: string): Promise<StoredObject | null> {
    const object = await this.#inTime(this.#bucket.get(key))
    if (!object) return null
    return {
      body: object.body,
      etag: object.httpEtag,
      type: object.httpMetadata?.contentType ?? 'application/octet-stream',
      bytes: async () => new Uint8Array(await this.#inTime(object.arrayBuffer())),
    }
  }

  async has(key: string): Promise<boolean> {
    return (await this.#inTime(this.#bucket.head(key))) !== null
  }

  /** Deletes at most 1,000 objects, R2's limit. Missing ones are no error. */
  async delete(keys: string[]): Promise<void> {
    if (keys.length > 0) await this.#inTime(this.#bucket.delete(keys))
  }

  /** The next objects of a prefix, in the order of their keys. `isOver`: there are no more. */
  async list(prefix: string, after: string, limit: number): Promise<{ objects: ListedObject[]; isOver: boolean }> {
    const options = { prefix, limit, ...(after === '' ? {} : { startAfter: after }) }
    const { objects, truncated } = await this.#inTime(this.#bucket.list(options))
    return {
      objects: objects.map(({ key, uploaded }) => ({ key, uploadedAt: uploaded.getTime() })),
      isOver: !truncated,
    }
  }

  async #inTime<T>(call: Promise<T>): Promise<T> {
    try {
      return await inTime(this.#clock, limits.objectMs, call)
    } catch (error) {
      throw new BanyanError('STORE_UNAVAILABLE', undefined, { cause: error, retryAfterSeconds: 1 })
    }
  }
}
