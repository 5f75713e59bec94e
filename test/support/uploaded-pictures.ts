/** Uploads files of the corpus to a real stack, and checks what is published of them. */
import sharp from 'sharp'
import { expect } from 'vitest'
import { corners } from '../../scripts/uploads/pixels.ts'
import type { Media } from '../../src/app/media/shapes.ts'
import type { Client } from './http-client.ts'
import type { Stack } from './stack.ts'
import { uploadBytes } from './upload-files.ts'
import type { AcceptedUpload, RefusedUpload } from './uploads.ts'

const WAIT_MS = 60_000
const POLL_MS = 200

const answerOf = async (client: Client, file: string) =>
  client.request('POST', '/api/v1/media', { body: await uploadBytes(file) })

/** Uploads a file that the checks refuse. */
export async function expectRefused(client: Client, { file, code }: RefusedUpload): Promise<void> {
  const answer = await answerOf(client, file)
  expect(answer.json(), file).toMatchObject({ status: code === 'PICTURE_TYPE' ? 415 : 413, code })
}

/** Uploads a file, waits for its job, and checks each variant: size, orientation, and no metadata. */
export async function expectPublished(stack: Stack, client: Client, upload: AcceptedUpload): Promise<Media> {
  const { file, shown, isDecodable, hasCorners } = upload
  const answer = await answerOf(client, file)
  expect(answer.status, `${file} ${answer.text}`).toBe(202)
  expect(answer.json(), file).toMatchObject({ media: { state: 'processing', ...shown } })
  const media = await settled(client, answer.json<{ media: Media }>().media.id)
  expect(media.state, `${file} ${media.error}`).toBe(isDecodable ? 'ready' : 'refused')
  for (const [name, one] of Object.entries(media.variants)) {
    const variant = one!
    const bytes = await publicBytes(stack, variant.url)
    const { format, width, height, exif, xmp, icc, iptc, pages = 1, orientation = 1 } = await sharp(bytes).metadata()
    const facts = { format, width, height, exif, xmp, icc, iptc, pages, orientation }
    const none = { exif: undefined, xmp: undefined, icc: undefined, iptc: undefined, pages: 1, orientation: 1 }
    expect(facts, `${file} ${name}`).toEqual({ format: 'webp', width: variant.width, height: variant.height, ...none })
    expect(
      chunksOf(bytes).filter((chunk) => !['VP8 ', 'VP8L', 'VP8X', 'ALPH'].includes(chunk)),
      file,
    ).toEqual([])
    const max = { small: 480, medium: 960, large: 1_920, avatar: 256 }[name]!
    expect(width, `${file} ${name} is enlarged`).toBeLessThanOrEqual(Math.min(max, shown.width))
    if (name === 'avatar')
      expect([width, height], file).toEqual(Array(2).fill(Math.min(256, shown.width, shown.height)))
  }
  if (isDecodable && hasCorners) await expectCorners(await publicBytes(stack, media.variants.small!.url), file)
  return media
}

async function settled(client: Client, id: string): Promise<Media> {
  for (const end = Date.now() + WAIT_MS; ; ) {
    const { media } = (await client.get(`/api/v1/media/${id}`)).json<{ media: Media }>()
    if (media.state !== 'processing' || Date.now() > end) return media
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}

async function publicBytes({ url }: Stack, path: string): Promise<Buffer> {
  const answer = await fetch(new URL(path, url))
  expect(answer.status, path).toBe(200)
  return Buffer.from(await answer.arrayBuffer())
}

function chunksOf(webp: Buffer): string[] {
  const names: string[] = []
  for (let at = 12; at < webp.length; at += 8 + webp.readUInt32LE(at + 4) + (webp.readUInt32LE(at + 4) % 2))
    names.push(webp.toString('latin1', at, at + 4))
  return names
}

/** The colours are where they are seen in the original, upright. */
async function expectCorners(webp: Buffer, file: string): Promise<void> {
  const { data, info } = await sharp(webp).removeAlpha().raw().toBuffer({ resolveWithObject: true })
  const pixel = (x: number, y: number) => [...data.subarray((y * info.width + x) * 3).subarray(0, 3)]
  const [right, bottom] = [info.width - 1, info.height - 1]
  const found = [pixel(0, 0), pixel(right, 0), pixel(0, bottom), pixel(right, bottom)].flat()
  const { topLeft, topRight, bottomLeft, bottomRight } = corners
  const expected = [topLeft, topRight, bottomLeft, bottomRight].flat()
  const differences = found.map((value, index) => Math.abs(value - expected[index]!))
  expect(Math.max(...differences), `${file}: ${found}`).toBeLessThan(48)
}

/** Every object of R2, and whether some address gives it to a visitor. */
export async function publicKeys(stack: Stack): Promise<{ key: string; isPublic: boolean }[]> {
  const { objects } = await (stack.env.BUCKET as R2Bucket).list()
  const statusOf = async (path: string) => (await fetch(new URL(path, stack.url))).status
  return Promise.all(
    objects.map(async ({ key }) => {
      const name = key.slice(key.indexOf('/') + 1)
      const paths = [
        `/${key}`,
        `/media/${name}`,
        `/media/${key}`,
        `/media/${encodeURIComponent(key)}`,
        `/assets/${name}`,
      ]
      const statuses = await Promise.all(paths.map(statusOf))
      return { key, isPublic: statuses.includes(200) }
    }),
  )
}
