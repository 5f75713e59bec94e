import sharp from 'sharp'
import { expect, test } from 'vitest'
import { corners } from '../../../scripts/uploads/pixels.ts'
import { checkPicture, displayedSize } from '../../../src/app/media/picture-checks.ts'
import { limits } from '../../../src/core/limits.ts'
import { uploadBytes, uploadFiles } from '../../support/upload-files.ts'
import { acceptedUploads, heavyUpload, photoUpload, refusedUploads } from '../../support/uploads.ts'

test('every file of the corpus has one row in the table, and every row has its file', () => {
  expect([...acceptedUploads, ...refusedUploads].map(({ file }) => file).sort()).toEqual(uploadFiles())
})

test.each([...acceptedUploads, photoUpload])('$file is accepted', async (upload) => {
  const { file, type, width, height, orientation, frames, shown } = upload
  const facts = checkPicture(await uploadBytes(file))
  expect(facts).toEqual({ type, width, height, orientation, frames })
  expect(displayedSize(facts)).toEqual(shown)
})

test.each([...refusedUploads, heavyUpload])('$file is refused: $detail', async ({ file, code, detail }) => {
  const bytes = await uploadBytes(file)
  expect(() => checkPicture(bytes)).toThrow(expect.objectContaining({ code, hasOwnDetail: true }))
  expect(() => checkPicture(bytes)).toThrow(new RegExp(`^${detail}.*\\. \\w.*\\.$`))
})

/** libvips does not read the frames of a PNG, and turns an AVIF before it states the size. */
const isAnimatedPng = (file: string) => ['animated.png', 'hidden-image.png'].includes(file)

test.each(acceptedUploads)('$file: libvips finds the same facts and pixels', async (upload) => {
  const { file, type, width, height, orientation, frames, shown, hasCorners, isDecodable } = upload
  const bytes = await uploadBytes(file)
  const found = await sharp(bytes).metadata()
  expect(found).toMatchObject({ mediaType: type, ...(type === 'image/avif' ? shown : { width, height }) })
  if (type !== 'image/avif') expect(found.orientation ?? 1).toBe(orientation)
  if (!isAnimatedPng(file)) expect(found.pages ?? 1).toBe(frames)

  const decoded = sharp(bytes).autoOrient().removeAlpha().raw().toBuffer({ resolveWithObject: true })
  if (!isDecodable) return expect(decoded).rejects.toThrow()
  const { data, info } = await decoded
  expect(info).toMatchObject(shown)
  if (!hasCorners) return
  const [right, bottom] = [info.width - 1, info.height - 1]
  const pixel = (x: number, y: number) => [...data.subarray((y * info.width + x) * 3).subarray(0, 3)]
  const shownCorners = [pixel(0, 0), pixel(right, 0), pixel(0, bottom), pixel(right, bottom)]
  const { topLeft, topRight, bottomLeft, bottomRight } = corners
  const expected = [topLeft, topRight, bottomLeft, bottomRight].flat()
  for (const [index, value] of shownCorners.flat().entries()) expect(value).toBeCloseTo(expected[index]!, -1.8)
})

test('the largest picture of each limit is accepted', async () => {
  const { picturePixelsMax, pictureSideMax, pictureFramesMax } = limits
  const { blackPng, repeatedGif } = await import('../../../scripts/uploads/pixels.ts')
  expect(checkPicture(blackPng(10_000, picturePixelsMax / 10_000))).toMatchObject({ width: 10_000, height: 5_000 })
  expect(checkPicture(blackPng(pictureSideMax, 1))).toMatchObject({ width: pictureSideMax })
  expect(checkPicture(await repeatedGif(1, 1, pictureFramesMax))).toMatchObject({ frames: pictureFramesMax })
  const small = blackPng(8, 8)
  const padded = new Uint8Array(limits.pictureBytesMax)
  padded.set(small)
  expect(checkPicture(padded)).toMatchObject({ width: 8, height: 8 })
})
