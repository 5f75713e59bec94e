import { describe, expect, test } from 'vitest'
import type { ApiGiven } from '../../support/api-given.ts'
import { expectPublished, expectRefused } from '../../support/uploaded-pictures.ts'
import { acceptedUploads, refusedUploads } from '../../support/uploads.ts'

/** One file per feature. The long suite has the whole corpus. */
const accepted = ['gps.jpg', 'animated.gif', 'broken-pixels.png']
const refused = ['svg.png', 'bomb.png']

/** Run by test/e2e/api.test.ts. */
export function apiTests({ stack, signUp }: ApiGiven): void {
  describe('pictures', () => {
    test('are published upright, without metadata, or refused', async () => {
      const client = await signUp()
      for (const upload of refusedUploads.filter(({ file }) => refused.includes(file)))
        await expectRefused(client, upload)
      const uploads = acceptedUploads.filter(({ file }) => accepted.includes(file))
      const media = await Promise.all(uploads.map((upload) => expectPublished(stack(), client, upload)))
      expect(media.map(({ state }) => state).toSorted()).toEqual(['ready', 'ready', 'refused'])
    })
  })
}
