import { expect, test } from 'vitest'
import { PeoplePage } from '../../../../src/app/follows/views.tsx'

test('a page whose people are all deleted shows the way to the next one, and does not say that nobody follows', () => {
  const user = { id: 'a', handle: 'ada', displayName: 'Ada', bio: '', avatar: null, createdAt: '' }
  const list = {
    user: { ...user, followers: 1, following: 0, posts: 0 },
    list: 'followers',
    title: '',
    people: [],
  } as const
  const page = (next: string | null) => String(PeoplePage({ ...list, people: [], next }))
  expect(page('more')).toContain('/@ada/followers?cursor=more')
  expect(page('more')).not.toContain('Nobody yet.')
  expect(page(null)).toContain('Nobody yet.')
})
