/** The double's KV, R2 and queues. */
import { ApiRefusal, idOf, RawAnswer, type Route } from './http.ts'

interface Consumer {
  consumer_id: string
  type: string
  script: string
  environment: string
  dead_letter_queue?: string
  settings: object
}

export interface DoubleQueue {
  queue_id: string
  queue_name: string
  consumers: Consumer[]
}

export class StoreRoom {
  readonly namespaces: { id: string; title: string }[] = []
  readonly buckets = new Map<string, Map<string, { bytes: Buffer; contentType: string; cacheControl: string }>>()
  readonly queues: DoubleQueue[] = []

  readonly routes: Route[] = [
    ['GET', '/storage/kv/namespaces', ({ query }) => (query.get('page') === '1' ? this.namespaces : [])],
    ['POST', '/storage/kv/namespaces', (request) => this.#makeNamespace(request.json<{ title: string }>().title)],
    ['GET', '/r2/buckets/:name', (_, name) => this.#bucket(name!) && { name }],
    ['POST', '/r2/buckets', (request) => this.#makeBucket(request.json<{ name: string }>().name)],
    [
      'GET',
      '/r2/buckets/:name/objects/:key*',
      (_, name, key) => {
        const object = this.#bucket(name!).get(key!)
        if (!object) throw new ApiRefusal(404, 10007, 'The specified key does not exist.')
        return new RawAnswer(object.bytes, object.contentType)
      },
    ],
    [
      'PUT',
      '/r2/buckets/:name/objects/:key*',
      ({ body, headers }, name, key) => {
        const { 'content-type': contentType = '', 'cache-control': cacheControl = '' } = headers
        this.#bucket(name!).set(key!, { bytes: body, contentType, cacheControl })
        return {}
      },
    ],
    [
      'GET',
      '/queues',
      ({ query }) => {
        const names = query.getAll('name')
        if (Number(query.get('page') ?? 1) > 1) return []
        return this.queues.filter((queue) => names.length === 0 || names.includes(queue.queue_name))
      },
    ],
    ['POST', '/queues', (request) => this.#makeQueue(request.json<{ queue_name: string }>().queue_name)],
    ['POST', '/queues/:id/consumers', (request, id) => this.#consume(id!, request.json())],
    ['PUT', '/queues/:id/consumers/:consumer', (request, id, consumer) => this.#consume(id!, request.json(), consumer)],
  ]

  #makeNamespace(title: string) {
    if (this.namespaces.some((namespace) => namespace.title === title))
      throw new ApiRefusal(400, 10014, 'a namespace with this account ID and title already exists')
    const made = { id: idOf('namespace', title), title }
    this.namespaces.push(made)
    return made
  }

  #bucket(name: string) {
    const bucket = this.buckets.get(name)
    if (!bucket) throw new ApiRefusal(404, 10006, 'The specified bucket does not exist.')
    return bucket
  }

  #makeBucket(name: string) {
    if (this.buckets.has(name)) throw new ApiRefusal(409, 10004, 'The bucket you tried to create already exists')
    this.buckets.set(name, new Map())
    return { name }
  }

  #makeQueue(name: string) {
    if (this.queues.some((queue) => queue.queue_name === name))
      throw new ApiRefusal(409, 11009, 'Queue name is already taken')
    const made: DoubleQueue = { queue_id: idOf('queue', name), queue_name: name, consumers: [] }
    this.queues.push(made)
    return made
  }

  #consume(
    id: string,
    wish: { type: string; script_name: string; dead_letter_queue?: string; settings: object },
    consumerId?: string,
  ) {
    const queue = this.queues.find(({ queue_id }) => queue_id === id)
    if (!queue) throw new ApiRefusal(404, 11000, 'Queue does not exist')
    const existing = queue.consumers.find(({ consumer_id }) => consumer_id === consumerId)
    if (!existing && queue.consumers.length > 0) throw new ApiRefusal(409, 11004, 'Queue already has a consumer')
    const { type, script_name: script, settings, dead_letter_queue } = wish
    const made: Consumer = {
      consumer_id: existing?.consumer_id ?? idOf('consumer', queue.queue_name),
      type,
      script,
      environment: 'production',
      settings,
      ...(dead_letter_queue ? { dead_letter_queue } : {}),
    }
    queue.consumers = [made]
    return made
  }
}
