import { env } from 'cloudflare:workers'
import { beforeEach, describe, expect, test } from 'vitest'
import type { Post } from '../../../src/app/posts/shapes.ts'
import type { Env } from '../../../workers/env.ts'
import '../../support/light-passwords.ts'
import { picture } from '../../support/pictures.ts'
import { emptyShards, everything, rows, runEverywhere } from '../../support/shard-rows.ts'
import { somebody, workerIsolate } from '../../support/worker-isolate.ts'
import { countedEnv } from '../calls/counted-env.ts'

const bindings = env as unknown as Env
const isolate = workerIsolate()

async function signUp() {
  const person = somebody()
  const { token } = (await isolate.request('POST', '/api/v1/accounts', { json: person })).json<{ token: string }>()
  return { token, handle: person.handle }
}

async function uploaded(token: string): Promise<string> {
  const answer = await isolate.request('POST', '/api/v1/media', { body: picture(40), token })
  expect(answer.status, answer.text).toBe(202)
  return answer.json<{ media: { id: string } }>().media.id
}

const publish = (token: string, mediaIds: unknown, key?: string) =>
  isolate.request('POST', '/api/v1/posts', { json: { text: 'Look.', mediaIds }, token, ...(key ? { key } : {}) })

const postOf = async (id: string) => (await isolate.request('GET', `/api/v1/posts/${id}`)).json<{ post: Post }>().post

const keys = async () => (await bindings.BUCKET.list()).objects.map(({ key }) => key)

beforeEach(async () => {
  await emptyShards()
  await bindings.BUCKET.delete(await keys())
})

describe('a post with pictures', () => {
  test('shows them in the order of the request, alone and in lists', async () => {
    const { token, handle } = await signUp()
    const [one, two, three] = [await uploaded(token), await uploaded(token), await uploaded(token)]
    const order = [two, three, one]
    const answer = await publish(token, order)
    expect(answer.status, answer.text).toBe(201)
    const { post } = answer.json<{ post: Post }>()
    const list = (await isolate.request('GET', `/api/v1/users/${handle}/posts`)).json<{ items: Post[] }>()
    for (const shown of [post, await postOf(post.id), list.items[0]!]) {
      expect(shown.media.map(({ id }) => id)).toEqual(order)
      expect(shown.media.map(({ state }) => state)).toEqual(['ready', 'ready', 'ready'])
    }
  })

  test('costs no more calls than one without', async () => {
    const { token } = await signUp()
    const { post } = (await publish(token, [await uploaded(token)])).json<{ post: Post }>()
    const counted = countedEnv(bindings)
    const other = workerIsolate(counted.env)
    await other.request('GET', `/api/v1/posts/${post.id}`)
    const before = counted.counts.d1
    await other.request('GET', `/api/v1/posts/${post.id}`)
    expect(counted.counts.d1 - before).toBe(1)
  })

  test('is not published, and the draft and all counts stay, if a picture cannot be used', async () => {
    const { token } = await signUp()
    // Two users in a row are in different shards, so one of them is in the author's.
    const [one, two] = [await signUp(), await signUp()]
    const own = await uploaded(token)
    const others = [await uploaded(one.token), await uploaded(two.token)]
    const [used, refused] = [await uploaded(token), await uploaded(token)]
    await publish(token, [used])
    await runEverywhere("UPDATE media SET state = 'refused' WHERE id = ?", refused)
    const before = await everything()
    for (const wrong of [...others, used, refused, 'x', `${own}x`]) {
      const answer = await publish(token, [own, wrong], `key ${wrong}`)
      expect(answer.json(), wrong).toMatchObject({ status: 422, errors: [{ pointer: '/mediaIds' }] })
    }
    for (const wrong of [[own, own], Array(5).fill(own), own, [1]])
      expect((await publish(token, wrong)).status).toBe(422)
    expect(await everything()).toEqual(before)
  })

  test('gives a retry the first answer, with its pictures', async () => {
    const { token } = await signUp()
    const id = await uploaded(token)
    const first = await publish(token, [id], 'key')
    expect((await publish(token, [id], 'key')).json()).toEqual(first.json())
    expect(await rows('posts')).toHaveLength(1)
  })

  test('takes them with it when it is deleted', async () => {
    const { token } = await signUp()
    const [id, kept] = [await uploaded(token), await uploaded(token)]
    const { post } = (await publish(token, [id])).json<{ post: Post }>()
    expect((await isolate.request('DELETE', `/api/v1/posts/${post.id}`, { token })).status).toBe(204)
    expect((await rows('media')).map((row) => row.id)).toEqual([kept])
    expect((await keys()).filter((key) => key.includes(id))).toEqual([])
    expect((await keys()).filter((key) => key.includes(kept))).not.toEqual([])
  })

  test('raises the version of its author when a picture is ready, so that no cache keeps the previous state', async () => {
    const { token } = await signUp()
    const queue = { send: async () => undefined, sendBatch: async () => undefined } as unknown as Queue
    const waiting = workerIsolate({ JOBS: 'queue', MEDIA_QUEUE: queue, JOBS_QUEUE: queue })
    const { media } = (await waiting.request('POST', '/api/v1/media', { body: picture(40), token })).json<{
      media: { id: string }
    }>()
    const { post } = (await publish(token, [media.id])).json<{ post: Post }>()
    expect(post.media.map(({ state }) => state)).toEqual(['processing'])
    const version = async () => (await rows('profiles'))[0]!.version as number
    const before = await version()
    await runEverywhere('UPDATE outbox SET due_at = 0')
    await isolate.cron()
    expect((await postOf(post.id)).media.map(({ state }) => state)).toEqual(['ready'])
    expect(await version()).toBe(before + 1)
  })
})
