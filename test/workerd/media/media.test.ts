import { env } from 'cloudflare:workers'
import { beforeEach, describe, expect, test } from 'vitest'
import { anyVariantKey, originalKey } from '../../../src/app/media/keys.ts'
import type { Media } from '../../../src/app/media/shapes.ts'
import { mediaDuties } from '../../../src/app/media/sweeps.ts'
import { Objects } from '../../../src/assets/objects.ts'
import { systemClock } from '../../../src/core/clock.ts'
import type { Env } from '../../../workers/env.ts'
import '../../support/light-passwords.ts'
import { picture } from '../../support/pictures.ts'
import { emptyShards, rows, runEverywhere } from '../../support/shard-rows.ts'
import { connectionLost, quietLog } from '../../support/sharding-doubles.ts'
import { World } from '../../support/tiers.ts'
import { somebody, workerIsolate } from '../../support/worker-isolate.ts'

const bindings = env as unknown as Env
const isolate = workerIsolate()
const objects = new Objects(bindings.BUCKET, systemClock)

interface Person {
  token: string
  handle: string
}

async function signUp(): Promise<Person> {
  const person = somebody()
  const { token } = (await isolate.request('POST', '/api/v1/accounts', { json: person })).json<{ token: string }>()
  return { token, handle: person.handle }
}

const upload = (token: string, body: Uint8Array = picture(), key?: string) =>
  isolate.request('POST', '/api/v1/media', { body, token, ...(key ? { key } : {}) })

async function uploaded(token: string, body?: Uint8Array): Promise<Media> {
  const answer = await upload(token, body)
  expect(answer.status, answer.text).toBe(202)
  return answer.json<{ media: Media }>().media
}

const found = async (id: string, token?: string) =>
  isolate.request('GET', `/api/v1/media/${id}`, token === undefined ? {} : { token })

const mediaOf = async (id: string, token: string) => (await found(id, token)).json<{ media: Media }>().media

async function keys(): Promise<string[]> {
  const { objects: listed } = await bindings.BUCKET.list()
  return listed.map(({ key }) => key)
}

beforeEach(async () => {
  await emptyShards()
  await bindings.BUCKET.delete(await keys())
})

describe('an upload', () => {
  test('is processed after the answer, and then has variants without metadata', async () => {
    const { token } = await signUp()
    const first = await uploaded(token)
    expect(first).toMatchObject({ state: 'processing', width: 600, height: 400, alt: '', variants: {} })
    const media = await mediaOf(first.id, token)
    expect(media.state, media.error).toBe('ready')
    const sizes = Object.entries(media.variants).map(([name, one]) => [name, one!.width, one!.height, one!.type])
    expect(sizes).toEqual([
      ['small', 480, 320, 'image/webp'],
      ['medium', 600, 400, 'image/webp'],
      ['avatar', 256, 256, 'image/webp'],
    ])
    expect(media.thumbhash).toMatch(/^[A-Za-z0-9+/]{20,40}=*$/)
  })

  test('of a wrong type or size changes nothing', async () => {
    const { token } = await signUp()
    const text = new TextEncoder().encode('<svg xmlns="http://www.w3.org/2000/svg"/>')
    expect((await upload(token, text)).json()).toMatchObject({ status: 415, code: 'PICTURE_TYPE' })
    expect((await upload(token, new Uint8Array(10_000_001))).json()).toMatchObject({ status: 413 })
    expect((await isolate.request('POST', '/api/v1/media', { body: picture() })).status).toBe(401)
    expect([await rows('media'), await keys()]).toEqual([[], []])
  })

  test('with an Idempotency-Key exists once, and another picture with that key is refused', async () => {
    const { token } = await signUp()
    const [one, two] = [await upload(token, picture(), 'key'), await upload(token, picture(), 'key')]
    expect(two.json()).toEqual(one.json())
    expect(await rows('media')).toHaveLength(1)
    expect((await keys()).filter((key) => key.startsWith('originals/'))).toHaveLength(1)
    expect((await upload(token, picture(300), 'key')).json()).toMatchObject({ code: 'IDEMPOTENCY_KEY_REUSED' })
  })

  test('is refused while the account has too many pictures that nothing shows', async () => {
    const { token } = await signUp()
    const { id } = await uploaded(token)
    await runEverywhere(
      `INSERT INTO media (id, owner_id, state, type, bytes, width, height, alt, variants, place, created_at, version)
       SELECT substr(id, 1, 27) || 'u' || value, owner_id, state, type, bytes, width, height, alt, variants, 0, created_at, 1
       FROM media, (WITH RECURSIVE n(value) AS (SELECT 10 UNION ALL SELECT value + 1 FROM n WHERE value < 28) SELECT value FROM n)
       WHERE id = ?`,
      id,
    )
    expect((await upload(token)).json()).toMatchObject({ status: 409, code: 'LIMIT_REACHED' })
    expect((await keys()).filter((key) => key.startsWith('originals/'))).toEqual([originalKey(id)])
  })
})

describe('the job', () => {
  const failing = (isBroken: (bytes: number) => boolean) => {
    const input = (stream: ReadableStream) => {
      const answer = async () => {
        const { byteLength } = await new Response(stream).arrayBuffer()
        if (isBroken(byteLength)) throw new Error('9999: something')
        return { image: () => new Blob([webpDot]).stream() }
      }
      const transformer = { transform: () => transformer, output: answer }
      return transformer
    }
    return workerIsolate({ IMAGES: { input } as unknown as ImagesBinding })
  }
  const webpDot = Buffer.from('UklGRiQAAABXRUJQVlA4IBgAAAAwAQCdASoBAAEAAUAmJaQAA3AA/v02aAA=', 'base64')

  test('refuses a picture that cannot be transformed while another one can', { timeout: 20_000 }, async () => {
    const { token } = await signUp()
    const body = picture()
    const broken = failing((bytes) => bytes === body.length)
    const answer = await broken.request('POST', '/api/v1/media', { body, token })
    const media = await mediaOf(answer.json<{ media: Media }>().media.id, token)
    expect(media).toMatchObject({ state: 'refused', variants: {} })
    expect(media.error).toMatch(/could not be read/)
  })

  test('tries later while the service fails for every picture', async () => {
    const { token } = await signUp()
    const away = failing(() => true)
    const answer = await away.request('POST', '/api/v1/media', { body: picture(), token })
    const { id } = answer.json<{ media: Media }>().media
    expect((await mediaOf(id, token)).state).toBe('processing')
    expect(await rows('outbox')).toHaveLength(1)
    await runEverywhere('UPDATE outbox SET due_at = 0')
    await isolate.cron()
    expect((await mediaOf(id, token)).state).toBe('ready')
  })
})

describe('while R2 fails', () => {
  const away = async () => {
    throw new Error('put: We encountered an internal error. (10001)')
  }
  const without = workerIsolate({ BUCKET: { put: away, get: away, delete: away } as unknown as R2Bucket })

  test('uploads and variants are refused with 503, and nothing is written', async () => {
    const { token } = await signUp()
    const answer = await without.request('POST', '/api/v1/media', { body: picture(), token })
    expect(answer.json()).toMatchObject({ status: 503, code: 'STORE_UNAVAILABLE' })
    expect([await rows('media'), await rows('outbox')]).toEqual([[], []])
    const { id } = await uploaded(token)
    expect((await without.request('GET', `/media/${id}-small.webp`)).status).toBe(503)
  })

  test('a picture is not refused, but processed later', async () => {
    const { token } = await signUp()
    const writes = { ...bindings.BUCKET, put: async () => null, get: away, delete: away }
    const half = workerIsolate({ BUCKET: writes as unknown as R2Bucket })
    const answer = await half.request('POST', '/api/v1/media', { body: picture(), token })
    const { media } = answer.json<{ media: Media }>()
    expect((await mediaOf(media.id, token)).state).toBe('processing')
    expect((await rows('outbox')).map(({ kind }) => kind)).toEqual(['media.process'])
  })
})

describe('a variant', () => {
  test('is served to everybody, and nothing else of R2 is', async () => {
    const { token } = await signUp()
    const { id } = await uploaded(token)
    const { variants } = await mediaOf(id, token)
    const { url } = variants.small!
    const answer = await isolate.request('GET', url)
    expect(answer.status).toBe(200)
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      'content-type': 'image/webp',
      'cache-control': 'public, max-age=31536000, immutable',
      'x-content-type-options': 'nosniff',
      'content-disposition': 'inline',
      'content-security-policy': "default-src 'none'; sandbox",
    })
    const etag = answer.headers.get('etag')!
    const known = await isolate.request('GET', url, { headers: { 'if-none-match': etag } })
    expect([known.status, known.text]).toEqual([304, ''])
    expect((await isolate.request('HEAD', url)).status).toBe(200)
    for (const key of await keys()) {
      const isVariant = key.startsWith('variants/')
      for (const path of [`/media/${key}`, `/media/${encodeURIComponent(key)}`, `/${key}`, `/assets/${key}`])
        expect((await isolate.request('GET', path)).status, path).toBe(404)
      const name = key.slice(key.indexOf('/') + 1)
      expect((await isolate.request('GET', `/media/${name}`)).status, name).toBe(isVariant ? 200 : 404)
    }
  })
})

describe('a picture', () => {
  test('is shown to its owner, and to others once something shows it', async () => {
    const { token } = await signUp()
    const { id } = await uploaded(token)
    const other = await signUp()
    expect([(await found(id)).status, (await found(id, other.token)).status]).toEqual([404, 404])
    await runEverywhere("UPDATE media SET used_by = 'x' WHERE id = ?", id)
    expect((await found(id)).status).toBe(200)
  })

  test('gets a description, and is deleted with its objects, by its owner only', async () => {
    const { token } = await signUp()
    const { id } = await uploaded(token)
    const other = await signUp()
    const path = `/api/v1/media/${id}`
    const json = { alt: 'A tree.' }
    expect((await isolate.request('PATCH', path, { json, token: other.token })).status).toBe(404)
    expect((await isolate.request('DELETE', path, { token: other.token })).status).toBe(404)
    const described = await isolate.request('PATCH', path, { json, token })
    expect(described.json<{ media: Media }>().media.alt).toBe('A tree.')
    expect(await keys()).not.toEqual([])
    expect((await isolate.request('DELETE', path, { token })).status).toBe(204)
    expect([await rows('media'), await keys(), (await found(id, token)).status]).toEqual([[], [], 404])
  })
})

describe('as an avatar', () => {
  test('is shown once it is ready, replaces the previous one, and is removed', async () => {
    const { token, handle } = await signUp()
    const [one, two] = [await uploaded(token), await uploaded(token)]
    const change = (avatarId: string | null) => isolate.request('PATCH', '/api/v1/me', { json: { avatarId }, token })
    const avatar = async () =>
      (await isolate.request('GET', `/api/v1/users/${handle}`)).json<{ user: { avatar: { url: string } | null } }>()
        .user.avatar
    expect((await change(one.id)).status).toBe(200)
    expect(await avatar()).toEqual({ url: `/media/${one.id}-avatar.webp` })
    expect((await change(two.id)).status).toBe(200)
    expect(await avatar()).toEqual({ url: `/media/${two.id}-avatar.webp` })
    expect((await rows('media')).map(({ id }) => id)).toEqual([two.id])
    expect((await keys()).filter((key) => key.includes(one.id))).toEqual([])
    expect((await change(two.id)).status).toBe(200)
    expect((await change(null)).status).toBe(200)
    expect([await avatar(), await rows('media'), await keys()]).toEqual([null, [], []])
  })

  test('of another user is refused, and changes nothing', async () => {
    const { token } = await signUp()
    const other = await signUp()
    const { id } = await uploaded(other.token)
    const answer = await isolate.request('PATCH', '/api/v1/me', { json: { avatarId: id, bio: 'x' }, token })
    expect(answer.json()).toMatchObject({ status: 422, errors: [{ pointer: '/avatarId' }] })
    expect((await rows('profiles')).map(({ bio, version }) => [bio, version])).toEqual([
      ['', 1],
      ['', 1],
    ])
  })
})

describe('the sweeps', () => {
  const world = new World()

  /** Runs each sweep a few times, this long after now. */
  async function sweep(hours: number, at = world.isolate()): Promise<number> {
    const clock = { ...systemClock, now: () => Date.now() + hours * 3_600_000 }
    const duties = mediaDuties({ ...at.tiers, objects, clock, log: quietLog })
    let count = 0
    for (const { run } of [...duties, ...duties]) count += await run({ turn: 0, size: 40, takesWrites: true })
    return count
  }

  const orphan = async (person: Person) => {
    const { id } = await uploaded(person.token)
    await runEverywhere('DELETE FROM media WHERE id = ?', id)
    return id
  }

  test('delete a picture that nothing shows after a day, and keep one that something shows', async () => {
    const { token } = await signUp()
    const [unused, used] = [await uploaded(token), await uploaded(token)]
    await isolate.request('PATCH', '/api/v1/me', { json: { avatarId: used.id }, token })
    await sweep(23)
    expect(await rows('media')).toHaveLength(2)
    await sweep(25)
    expect((await rows('media')).map(({ id }) => id)).toEqual([used.id])
    const left = await keys()
    expect(left.filter((key) => key.includes(unused.id))).toEqual([])
    expect(left).toHaveLength(4)
  })

  test('delete the objects of a picture without a row, but none that is younger than a day', async () => {
    await orphan(await signUp())
    expect(await sweep(23)).toBe(0)
    expect(await keys()).toHaveLength(4)
    await sweep(25)
    expect(await keys()).toEqual([])
  })

  test('keep the objects of a picture whose shard does not answer', async () => {
    await orphan(await signUp())
    const at = world.isolate()
    for (let n = 0; n < 8; n++) at.failAt('media.find-rows', connectionLost())
    await sweep(25, at)
    expect(await keys()).toHaveLength(4)
  })

  test('make missing variants again from the original', async () => {
    const { token } = await signUp()
    const { id } = await uploaded(token)
    await isolate.request('PATCH', '/api/v1/me', { json: { avatarId: id }, token })
    await bindings.BUCKET.delete(anyVariantKey(id))
    const before = await rows('media')
    await sweep(25)
    await runEverywhere('UPDATE outbox SET due_at = 0, created_at = ?', Date.now())
    await isolate.cron()
    expect(await objects.has(anyVariantKey(id))).toBe(true)
    expect(await rows('media')).toEqual(before)
  })
})
