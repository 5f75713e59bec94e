import { expect, test } from 'vitest'
import type { BrowserGiven } from '../../support/browser-given.ts'
import { pathOf } from '../../support/browser-stand.ts'
import { publish } from './browser.ts'

/** Run by test/long/browser.test.ts. */
export function browserTests({ open, signUp }: BrowserGiven): void {
  test('a draft whose save is under way when the post is published does not come back', async () => {
    const page = await open()
    await signUp(page, 'dirk')
    const { promise: saving, resolve: reached } = Promise.withResolvers<void>()
    const { promise: released, resolve: release } = Promise.withResolvers<void>()
    await page.route('**/home/draft', async (route) => {
      reached()
      await released
      await route.continue()
    })
    await page.getByLabel('New post').fill('All of it.')
    await saving
    await page.getByRole('button', { name: 'Publish' }).click()
    release()
    await page.getByRole('list').getByText('All of it.', { exact: true }).waitFor()
    await page.reload()
    expect(await page.getByLabel('New post').inputValue()).toBe('')
  })

  test('a draft that is too long is reported, and the previous one is kept', async () => {
    const page = await open()
    await signUp(page, 'dana')
    await page.getByLabel('New post').fill('Short.')
    await page.getByText('Draft saved.').waitFor()
    await page.getByLabel('New post').fill('👩'.repeat(1_013))
    await page.getByText('has room for 4,050').waitFor()
    await page.reload()
    expect(await page.getByLabel('New post').inputValue()).toBe('Short.')
  })

  test('a draft whose save gets no answer delays the post by at most 5 s', async () => {
    const page = await open()
    await signUp(page, 'dean')
    const { promise: saving, resolve: reached } = Promise.withResolvers<void>()
    await page.route('**/home/draft', () => reached())
    await page.getByLabel('New post').fill('No answer.')
    await saving
    await page.getByRole('button', { name: 'Publish' }).click()
    await page.getByRole('list').getByText('No answer.', { exact: true }).waitFor()
  })

  test('a draft of a user who has logged out elsewhere says to log in again', async () => {
    const page = await open()
    await signUp(page, 'dora_2')
    const other = await page.context().newPage()
    await other.goto('/home')
    await other.getByRole('button', { name: 'Log out' }).click()
    await other.getByRole('link', { name: 'Create your account' }).waitFor()
    await page.getByLabel('New post').fill('Too late.')
    await page.getByText('log in again').waitFor()
  })

  test('a draft works without scripts, by its button', async () => {
    const page = await open({ javaScriptEnabled: false })
    await signUp(page, 'dina')
    const save = () => page.getByRole('button', { name: 'Save draft' }).click()
    await page.getByLabel('New post').fill('Later.')
    await save()
    expect(pathOf(page)).toBe('/home')
    await page.goto('/settings')
    await page.goto('/home')
    expect(await page.getByLabel('New post').inputValue()).toBe('Later.')
    await page.getByLabel('New post').fill('👩'.repeat(1_013))
    await save()
    expect(await page.locator('#text-error').textContent()).toContain('The previous draft is kept.')
    expect(await page.getByLabel('New post').inputValue()).toBe('👩'.repeat(1_013))
    await page.goto('/home')
    await publish(page, 'Now.')
    await page.goto('/home')
    expect(await page.getByLabel('New post').inputValue()).toBe('')
  })
}
