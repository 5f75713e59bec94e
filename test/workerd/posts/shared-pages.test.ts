import { beforeEach, describe, expect, test } from 'vitest'
import { createPost, deletePost } from '../../../src/app/posts/posts.ts'
import '../../support/light-passwords.ts'
import { cachedWorker } from '../../support/cached-worker.ts'
import { type Member, member } from '../../support/members.ts'
import { emptyShards, rows } from '../../support/shard-rows.ts'
import { World } from '../../support/tiers.ts'
import { somebody, type WorkerAnswer, workerIsolate } from '../../support/worker-isolate.ts'
import { WorkersCache } from '../../support/workers-cache.ts'

beforeEach(emptyShards)

async function setUp() {
  const world = new World()
  return { world, ada: await member(world) }
}

describe('the deletion of a post', () => {
  const published = async (world: World, author: Member) => {
    const isolate = world.isolate({ settings: { cache: 'on', jobs: 'queue' }, mode: 'queue' })
    const post = await createPost(isolate.tiers, author.session, 'Soon gone.', null)
    return { ...isolate, isolate, post }
  }

  test('commits the purge of its pages with it, and sends it after the response', async () => {
    const { world, ada } = await setUp()
    const { isolate, tiers, post } = await published(world, ada)
    await deletePost(tiers, ada.session, post.id)
    expect(await rows('outbox')).toMatchObject([
      { kind: 'cache.purge', body: JSON.stringify({ tag: `post:${post.id}` }) },
    ])
    await isolate.afterResponse()
    expect(world.queued.map(({ kind }) => kind)).toEqual(['cache.purge'])
  })

  test('twice commits one purge', async () => {
    const { world, ada } = await setUp()
    const { tiers, post } = await published(world, ada)
    await deletePost(tiers, ada.session, post.id)
    await expect(deletePost(tiers, ada.session, post.id)).rejects.toMatchObject({ code: 'NOT_FOUND' })
    expect(await rows('outbox')).toHaveLength(1)
  })

  test('with CACHE=off commits none', async () => {
    const { world, ada } = await setUp()
    const { tiers } = world.isolate({ settings: { cache: 'off' } })
    const post = await createPost(tiers, ada.session, 'Soon gone.', null)
    await deletePost(tiers, ada.session, post.id)
    expect(await rows('outbox')).toEqual([])
  })

  test('with JOBS=inline purges the page and the profile when the response has been sent', async () => {
    const cache = new WorkersCache({ now: () => 0 })
    const { request } = cachedWorker(cache)
    const given = somebody()
    const { token } = (await request('POST', '/api/v1/accounts', { json: given })).json<{ token: string }>()
    const post = async (text: string) =>
      (await request('POST', '/api/v1/posts', { json: { text }, token })).json<{ post: { id: string } }>().post.id
    const [kept, gone] = [await post('It stays.'), await post('Soon gone.')]
    const status = async (path: string) => {
      const { headers, text } = await request('GET', path)
      return [headers.get('cache-status'), text.includes('Soon gone.')]
    }
    const paths = [`/posts/${gone}`, `/posts/${kept}`, `/@${given.handle}`]
    for (const path of paths) await request('GET', path)
    expect(await Promise.all(paths.map(status))).toEqual([
      ['PublicPages; hit', true],
      ['PublicPages; hit', false],
      ['PublicPages; hit', true],
    ])
    expect((await request('DELETE', `/api/v1/posts/${gone}`, { token })).status).toBe(204)
    expect(await Promise.all(paths.map(status))).toEqual([
      [null, false],
      ['PublicPages; hit', false],
      ['PublicPages; fwd=miss; stored', false],
    ])
  })
})

test('a cursor that is not of the list gets the same answer with and without the hand-over', async () => {
  const given = somebody()
  const direct = workerIsolate({ CACHE: 'off' })
  await direct.request('POST', '/api/v1/accounts', { json: given })
  const path = `/@${given.handle}?cursor=made-up`
  const withoutId = ({ headers, text }: WorkerAnswer) => text.replaceAll(headers.get('x-request-id')!, 'ID')
  const [handedOver, expected] = [
    await cachedWorker(new WorkersCache({ now: () => 0 })).request('GET', path),
    await direct.request('GET', path),
  ]
  expect(handedOver.status).toBe(422)
  expect(withoutId(handedOver)).toBe(withoutId(expected))
})
