import { expect, test } from 'vitest'
import { checkPicture, displayedSize } from '../../../src/app/media/picture-checks.ts'

const dot = Uint8Array.from(atob('R0lGODlhAQABAAAAACwAAAAAAQABAAACAkQBADs='), (character) => character.charCodeAt(0))

test('a GIF of one pixel is a picture of one frame', () => {
  expect(checkPicture(dot)).toEqual({ type: 'image/gif', width: 1, height: 1, orientation: 1, frames: 1 })
  expect(displayedSize({ type: 'image/jpeg', width: 3, height: 2, orientation: 6, frames: 1 })).toEqual({
    width: 2,
    height: 3,
  })
})
