import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'
import type { BrowserGiven } from '../../support/browser-given.ts'

const pathOf = (page: Page) => new URL(page.url()).pathname

/** Follows somebody, finds both in the lists, and unfollows again, with or without scripts. */
async function followAndLeave(page: Page, handle: string, other: string): Promise<void> {
  await page.goto(`/@${other}`)
  await page.getByRole('button', { name: 'Follow', exact: true }).click()
  await page.getByRole('button', { name: 'Unfollow' }).waitFor()
  expect(pathOf(page)).toBe(`/@${other}`)
  await page.goto(`/@${handle}`)
  expect(await page.getByRole('button', { name: 'Follow' }).count()).toBe(0)
  await page.getByRole('link', { name: '1 following' }).click()
  expect(pathOf(page)).toBe(`/@${handle}/following`)
  await page.getByRole('listitem').getByRole('link').click()
  expect(pathOf(page)).toBe(`/@${other}`)
  await page.getByRole('button', { name: 'Unfollow' }).click()
  await page.getByRole('button', { name: 'Follow', exact: true }).waitFor()
  await page.goto(`/@${handle}/following`)
  await page.getByText('Nobody yet.').waitFor()
}

/** Run by test/e2e/browser.test.ts. */
export function browserTests({ open, signUp, logIn, tooWide }: BrowserGiven): void {
  test('a user follows another and unfollows again', async () => {
    await signUp(await open(), 'fay')
    const page = await open()
    await signUp(page, 'fred')
    await followAndLeave(page, 'fred', 'fay')
  })

  test('the same works without scripts, and for a visitor after logging in', async () => {
    await signUp(await open(), 'finn')
    await signUp(await open(), 'f'.repeat(30))
    const page = await open({ javaScriptEnabled: false, viewport: { width: 360, height: 740 } })
    await page.goto('/@finn')
    await page.getByRole('link', { name: 'Follow', exact: true }).click()
    expect(pathOf(page)).toBe('/login')
    expect(page.url()).toContain('next=%2F%40finn')
    await logIn(page, 'f'.repeat(30))
    await followAndLeave(page, 'f'.repeat(30), 'finn')
  })

  test('no page of follows is wider than a phone', async () => {
    const longest = 'g'.repeat(30)
    await signUp(await open(), longest)
    const page = await open({ viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true })
    await signUp(page, 'gil')
    await page.goto(`/@${longest}`)
    await page.getByRole('button', { name: 'Follow', exact: true }).click()
    await page.getByRole('button', { name: 'Unfollow' }).waitFor()
    expect(await tooWide(page, [`/@${longest}`, '/@gil/following', `/@${longest}/followers`])).toEqual([])
  })
}
