import fc from 'fast-check'
import { expect, test } from 'vitest'
import { big, box, join, jpegSegment, little, pngChunk, riffChunk, webp } from '../../../scripts/uploads/bytes.ts'
import { blackPng } from '../../../scripts/uploads/pixels.ts'
import { checkPicture } from '../../../src/app/media/picture-checks.ts'
import { BanyanError } from '../../../src/core/errors.ts'
import { uploadBytes } from '../../support/upload-files.ts'
import { acceptedUploads, refusedUploads } from '../../support/uploads.ts'

/**
 * Bytes that count how often one of them is read, also through `subarray` and `slice`, and the reads past their end.
 * Those past the end of a copy do not count, because `image-meta` reads there, and takes what it gets for no number.
 */
function counted(bytes: Uint8Array): { bytes: Uint8Array; reads: () => number; readsPastEnd: () => number } {
  let [reads, readsPastEnd] = [0, 0]
  const counting = (target: Uint8Array): Uint8Array =>
    new Proxy(target, {
      get(_, key) {
        if (typeof key === 'string' && /^-?\d/.test(key)) reads++
        if (typeof key === 'string' && /^-?\d/.test(key) && target === bytes && !(key in target)) readsPastEnd++
        const value: unknown = Reflect.get(target, key, target)
        if (typeof value !== 'function') return value
        return (...given: unknown[]) => {
          const result: unknown = value.apply(target, given)
          if (key === 'indexOf') reads += (result === -1 ? target.length : Number(result) + 1) - Number(given[1] ?? 0)
          if (!(result instanceof Uint8Array)) return result
          reads += key === 'slice' ? result.length : 0
          return counting(result)
        }
      },
    })
  return { bytes: counting(bytes), reads: () => reads, readsPastEnd: () => readsPastEnd }
}

/** Checks the bytes, and returns the reads per byte. Only `PICTURE_TYPE` and `PICTURE_TOO_LARGE` may be thrown. */
function readsPerByte(bytes: Uint8Array): number {
  const { bytes: counting, reads, readsPastEnd } = counted(bytes)
  try {
    checkPicture(counting)
  } catch (error) {
    expect(error).toBeInstanceOf(BanyanError)
    expect(['PICTURE_TYPE', 'PICTURE_TOO_LARGE']).toContain((error as BanyanError).code)
  }
  expect(readsPastEnd()).toBe(0)
  return reads() / (bytes.length + 500)
}

const small = [...acceptedUploads, ...refusedUploads].filter(({ file }) => !/^(bomb|many|high)/.test(file))
const files = await Promise.all(small.map(({ file }) => uploadBytes(file)))
const READS_MAX = 30

test('the count includes each read', () => {
  const { bytes, reads, readsPastEnd } = counted(Uint8Array.of(1, 2, 3, 4))
  expect([bytes[0], bytes.subarray(1)[0], bytes.slice(2).length, bytes.indexOf(4)]).toEqual([1, 2, 2, 3])
  expect(reads()).toBe(8)
  expect([bytes[4], bytes[-1], readsPastEnd()]).toEqual([undefined, undefined, 2])
})

test('truncated anywhere, a picture is refused or accepted with few reads', () => {
  fc.assert(
    fc.property(fc.constantFrom(...files), fc.nat(), (file, length) => {
      expect(readsPerByte(file.subarray(0, length % (file.length + 1)))).toBeLessThan(READS_MAX)
    }),
    { numRuns: 300 },
  )
})

const change = fc.record({ at: fc.nat(), byte: fc.oneof(fc.constantFrom(0, 1, 0x7f, 0x80, 0xfe, 0xff), fc.nat(255)) })

test('with any bytes changed, a picture is refused or accepted with few reads', () => {
  fc.assert(
    fc.property(fc.constantFrom(...files), fc.array(change, { minLength: 1, maxLength: 8 }), (file, changes) => {
      const bytes = file.slice()
      // Most changes hit the first bytes, where the lengths are.
      for (const { at, byte } of changes) bytes[at % (at % 3 === 0 ? file.length : Math.min(64, file.length))] = byte
      expect(readsPerByte(bytes)).toBeLessThan(READS_MAX)
    }),
    { numRuns: 600 },
  )
})

const starts = ['\xff\xd8\xff', '\x89PNG\r\n\x1a\n', 'GIF89a', 'RIFF\x40\0\0\0WEBP', '\0\0\0\x10ftypavif\0\0\0\0']

test('any bytes after the start of a picture are refused or accepted with few reads', () => {
  fc.assert(
    fc.property(fc.constantFrom('', ...starts), fc.uint8Array({ maxLength: 400 }), (start, rest) => {
      expect(readsPerByte(join(start, rest))).toBeLessThan(READS_MAX)
    }),
    { numRuns: 500 },
  )
})

const many = (part: Uint8Array) => join(...Array.from({ length: 2_000 }, () => part))
const size = jpegSegment(0xc0, 8, big(1, 2), big(1, 2), 1, 1, 0x11, 0)
const lists = {
  'segments of a JPEG': join('\xff\xd8', many(jpegSegment(0xe1))),
  'EXIF segments of a JPEG': join('\xff\xd8', many(jpegSegment(0xe1, 'Exif\0\0')), size, jpegSegment(0xda), '\xff\xd9'),
  'fill bytes of a JPEG': join('\xff\xd8', many(Buffer.of(0xff))),
  'restarts of a JPEG': join('\xff\xd8', size, jpegSegment(0xda), many(Buffer.of(0xff, 0xd0)), '\xff\xd9'),
  'scans of a JPEG': join('\xff\xd8', size, many(jpegSegment(0xda)), '\xff\xd9'),
  'EXIF entries': join('\xff\xd8', jpegSegment(0xe1, 'Exif\0\0MM\0*\0\0\0\x08\xff\xff', many(Buffer.alloc(12)))),
  'chunks of a PNG': join(blackPng(1, 1).subarray(0, -12), many(pngChunk('teSt')), pngChunk('IEND')),
  'blocks of a GIF': join('GIF89a', big(0, 7), '!\xfe', many(Buffer.of(1, 1)), 0, ';'),
  'extensions of a GIF': join('GIF89a', big(0, 7), many(Buffer.of(0x21, 0xfe, 0)), ';'),
  'chunks of a WebP': webp(many(riffChunk('teSt'))),
  'frames of a WebP': webp(riffChunk('VP8X', 2, little(0, 9)), many(riffChunk('ANMF', Buffer.alloc(16)))),
  'boxes of an AVIF': join(box('ftyp', 'avif', big(0, 4)), many(box('free'))),
  'properties of an AVIF': join(
    box('ftyp', 'avif', big(0, 4)),
    box('meta', big(0, 4), box('pitm', big(0, 6)), box('iprp', box('ipco', many(box('free'))), box('ipma', big(0, 8)))),
  ),
  'associations of an AVIF': join(
    box('ftyp', 'avif', big(0, 4)),
    box(
      'meta',
      big(0, 4),
      box('pitm', big(0, 6)),
      box('iprp', box('ipco'), box('ipma', big(0, 4), '\xff\xff\xff\xff', many(Buffer.alloc(3)))),
    ),
  ),
  'less-than signs': join(
    blackPng(1, 1).subarray(0, -12),
    pngChunk('teSt', many(Buffer.from('<scrip<'))),
    pngChunk('IEND'),
  ),
}

test.each(Object.entries(lists))('%s, 2,000 of them, are read a bounded number of times', (_, bytes) => {
  expect(readsPerByte(bytes)).toBeLessThan(READS_MAX)
})
