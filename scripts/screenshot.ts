/** `npm run screenshot`: takes docs/images/home.png from its own stack, with posts published over HTTP. */
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { root } from '../src/cli/shell/root.ts'
import { launchBrowser } from '../test/support/browser.ts'
import { startStack } from '../test/support/stack.ts'

const MINUTE_MS = 60_000
const file = path.join(root, 'docs/images/home.png')

const person = {
  email: 'marta@example.com',
  handle: 'marta',
  displayName: 'Marta Oliveira',
  password: 'three small boats',
}

/** Oldest first. `minutes` is the displayed age. */
const posts = [
  {
    minutes: 2 * 1_440,
    text: 'The bakery on Rua das Flores has started to sell yesterday’s bread at half price from four o’clock. By five past four there is a queue, and by a quarter past it is gone. I went for the bread and stay for the queue.',
  },
  {
    minutes: 21 * 60,
    text: 'Started to draw the trees on my street, one a week.\n\nFirst lesson: nobody has ever looked at the top half of a plane tree.',
  },
  {
    minutes: 95,
    text: 'The ferry was late, so eleven strangers and I now know how to fold a paper crane. The captain’s is the best of them.',
  },
]

const stack = await startStack()
const browser = await launchBrowser()
try {
  const client = stack.bearer()
  const signedUp = await client.post('/api/v1/accounts', person)
  if (signedUp.status !== 201) throw new Error(signedUp.text)
  for (const { text, minutes } of posts) {
    const answer = await client.post('/api/v1/posts', { text })
    await backdate(answer.json<{ post: { id: string } }>().post.id, minutes)
  }
  const context = await browser.newContext({ viewport: { width: 1_280, height: 800 }, colorScheme: 'light' })
  const page = await context.newPage()
  await page.goto(`${stack.url.origin}/login`)
  await page.getByLabel('E-mail or handle').fill(person.handle)
  await page.getByLabel('Password').fill(person.password)
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.waitForURL('**/home')
  await page.mouse.move(0, 0)
  mkdirSync(path.dirname(file), { recursive: true })
  await page.screenshot({ path: file })
  console.log(path.relative(root, file))
} finally {
  await browser.close()
  await stack.close()
}

/** Otherwise every post would be from "just now". */
async function backdate(postId: string, minutes: number): Promise<void> {
  for (const database of stack.databases.values())
    await database
      .prepare('UPDATE posts SET created_at = created_at - ? WHERE id = ?')
      .bind(minutes * MINUTE_MS, postId)
      .run()
}
