import { env } from 'cloudflare:workers'
import { afterEach, expect, test, vi } from 'vitest'
import '../../support/light-passwords.ts'
import type { Env } from '../../../workers/env.ts'
import { UnkindKv } from '../../support/kv-double.ts'
import { seededRandom } from '../../support/sharding-doubles.ts'
import { somebody, workerIsolate } from '../../support/worker-isolate.ts'
import { zipfRanks } from '../../support/zipf.ts'
import { type Counts, countedEnv } from '../../workerd/calls/counted-env.ts'

const bindings = env as unknown as Env
const AUTHORS = 50
const POSTS = 500
const REQUESTS = 6_000
const PER_SECOND = 50
const INSTANCES = 3
/** One request in this many is an edit. */
const EDIT_EVERY = 200

const { now } = Date
let passedMs = 0
afterEach(() => vi.restoreAllMocks())

interface Post {
  id: string
  handle: string
  token: string
}

function instance(cache: 'on' | 'off', kv: KVNamespace) {
  const counted = countedEnv({ ...bindings, KV: kv }, { CACHE: cache, LEASE_MS: '3600000', GRACE_MS: '7200000' })
  counted.openQueues()
  return { ...workerIsolate(counted.env), counts: counted.counts }
}

async function publish(): Promise<Post[]> {
  const { request } = instance('off', bindings.KV)
  const posts: Post[] = []
  for (let author = 0; author < AUTHORS; author++) {
    const person = somebody()
    const { token } = (await request('POST', '/api/v1/accounts', { json: person })).json<{ token: string }>()
    for (let post = 0; post < POSTS / AUTHORS; post++) {
      const answer = await request('POST', '/api/v1/posts', {
        token,
        json: { text: `Post ${post} of ${person.handle}` },
      })
      posts.push({ id: answer.json<{ post: { id: string } }>().post.id, handle: person.handle, token })
    }
  }
  return posts
}

/** Visitors read posts, lists and pages by a Zipf law, at a steady rate, from instances that take turns. Authors edit. */
async function load(cache: 'on' | 'off', posts: Post[]): Promise<Counts> {
  const kv = new UnkindKv({ now: () => Date.now(), sleep: async () => undefined }, { visibleAfterMs: 60_000 })
  const instances = Array.from({ length: INSTANCES }, (_, index) => instance(cache, kv.location(`${index}`).binding))
  const random = seededRandom(7)
  const ranks = zipfRanks(POSTS, REQUESTS, random)
  const order = posts.map((post) => ({ post, at: random.fraction() })).sort((one, other) => one.at - other.at)
  for (const [index, rank] of ranks.entries()) {
    passedMs += 1_000 / PER_SECOND
    const { request } = instances[index % INSTANCES]!
    const { id, handle, token } = order[rank]!.post
    const path = [`/api/v1/posts/${id}`, `/api/v1/posts/${id}`, `/@${handle}`, `/api/v1/users/${handle}/posts`][
      index % 4
    ]!
    const isEdit = index % EDIT_EVERY === 0
    const answer = isEdit
      ? await request('PATCH', `/api/v1/posts/${id}`, { token, json: { text: `Edit ${index}` } })
      : await request('GET', path)
    expect([path, answer.status]).toEqual([path, 200])
  }
  const total: Counts = { d1: 0, kv: 0, directory: 0 }
  for (const { counts } of instances) {
    total.d1 += counts.d1
    total.kv += counts.kv
    total.directory += counts.directory
  }
  return total
}

test('a Zipf load over the application, with and without the cache', { timeout: 300_000 }, async () => {
  vi.spyOn(Date, 'now').mockImplementation(() => now() + passedMs)
  const posts = await publish()
  const without = await load('off', posts)
  const withIt = await load('on', posts)
  const per = ({ d1, kv }: Counts) => `${(d1 / REQUESTS).toFixed(3)} D1 and ${(kv / REQUESTS).toFixed(3)} KV calls`
  console.log(`per request: ${per(without)} without the cache, ${per(withIt)} with it`)
  expect(withIt.d1).toBeLessThan(without.d1 / 3)
})
