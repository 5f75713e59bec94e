import { type FieldErrors, FormError, TextArea } from '../../web/fields.tsx'
import { Spread, Timestamp } from '../../web/layout.tsx'
import { readableTime } from '../../web/readable-times.ts'
import { type ChosenPicture, PictureFields, Pictures } from '../media/views.tsx'
import { Byline } from '../profiles/byline.tsx'
import { Leaf } from '../profiles/leaf.tsx'
import { shownName } from '../profiles/names.ts'
import type { Self } from '../profiles/shapes.ts'
import { DRAFT } from './navigation.tsx'
import type { Post } from './shapes.ts'

const postCharactersMax = 2_000

/**
 * Beyond either, a list shows the start of a post and a link to the rest. The stylesheet clips at this number of lines.
 */
const previewCharactersMax = 900
const previewLinesMax = 14

function isLong(text: string): boolean {
  return text.length > previewCharactersMax || text.split('\n').length > previewLinesMax
}

const PostDates = ({ post }: { post: Post }) => (
  <p class="dates">
    <a href={`/posts/${post.id}`}>
      <Timestamp time={post.createdAt} />
    </a>
    {post.editedAt ? (
      <>
        {' · '}
        <span title={readableTime(post.editedAt)}>edited</span>
      </>
    ) : null}
  </p>
)

type PostCardProps = {
  post: Post
  /** False if the page already names the author. */
  byline?: boolean
}

const PostCard = ({ post, byline = true }: PostCardProps) => (
  <article class="post">
    {byline ? (
      <div class="post-top">
        <Byline user={post.author} />
        <PostDates post={post} />
      </div>
    ) : (
      <PostDates post={post} />
    )}
    <p class={isLong(post.text) ? 'words words-clipped' : 'words'} dir="auto">
      {post.text}
    </p>
    {isLong(post.text) ? (
      <p>
        <a class="text-link" href={`/posts/${post.id}`}>
          Read the rest
        </a>
      </p>
    ) : null}
    <Pictures media={post.media} />
  </article>
)

export type PostListProps = {
  posts: Post[]
  /** The next page's cursor. */
  next: string | null
  basePath: string
  /** The text for an empty list. */
  empty?: string
  byline?: boolean
}

export const PostList = ({ posts, next, basePath, empty = 'Nothing here yet.', byline = true }: PostListProps) => (
  <>
    {posts.length === 0 ? (
      <p class="empty">{empty}</p>
    ) : (
      <ol class="posts">
        {posts.map((post) => (
          <li>
            <PostCard post={post} byline={byline} />
          </li>
        ))}
      </ol>
    )}
    {next ? (
      <p class="older">
        <a class="button button-quiet" href={`${basePath}?cursor=${encodeURIComponent(next)}`}>
          Older posts
        </a>
      </p>
    ) : null}
  </>
)

type Draft = { text: string; errors: FieldErrors }

type ComposerProps = Draft & { pictures: readonly ChosenPicture[]; idempotencyKey: string }

const Composer = ({ text, errors, pictures, idempotencyKey }: ComposerProps) => (
  <form class="form composer" method="post" action="/posts" enctype="multipart/form-data" data-draft={DRAFT}>
    <FormError errors={errors} />
    <input type="hidden" name="idempotencyKey" value={idempotencyKey} />
    <TextArea
      id="text"
      name="text"
      label="New post"
      hint="Up to 2,000 characters of plain text."
      value={text}
      error={errors.text}
      rows={4}
      countTo={postCharactersMax}
      required
    />
    {errors.mediaIds ? <p class="field-error">{errors.mediaIds}</p> : null}
    <PictureFields chosen={pictures} errors={errors} />
    <p class="actions">
      <button class="button" type="submit">
        Publish
      </button>
      <button
        class="button button-quiet"
        type="submit"
        formaction={DRAFT}
        formenctype="application/x-www-form-urlencoded"
        formnovalidate
      >
        Save draft
      </button>
    </p>
  </form>
)

const SelfMargin = ({ self }: { self: Self }) => (
  <div class="person">
    <Leaf user={self} size="large" />
    <div class="person-text">
      <h1 class="person-name" dir="auto">
        {shownName(self)}
      </h1>
      <p class="person-handle">
        <a href={`/@${self.handle}`}>@{self.handle}</a>
      </p>
    </div>
  </div>
)

export type HomePageProps = {
  self: Self
  posts: Post[]
  next: string | null
  composer: Draft & { pictures: readonly ChosenPicture[] }
  idempotencyKey: string
}

export const HomePage = ({ self, posts, next, composer, idempotencyKey }: HomePageProps) => (
  <Spread margin={<SelfMargin self={self} />}>
    <Composer {...composer} idempotencyKey={idempotencyKey} />
    <h2 class="list-title">Your posts</h2>
    <PostList
      posts={posts}
      next={next}
      basePath="/home"
      empty="Nothing yet. Your first post will appear here."
      byline={false}
    />
  </Spread>
)

const DeletePost = ({ post }: { post: Post }) => (
  <details class="confirm">
    <summary class="button button-quiet">Delete…</summary>
    <form class="confirm-body" method="post" action={`/posts/${post.id}/delete`}>
      <p>This deletes the post and its address permanently.</p>
      <button class="button button-bad" type="submit">
        Delete this post
      </button>
    </form>
  </details>
)

export type PostPageProps = { post: Post; own: boolean }

export const PostPage = ({ post, own }: PostPageProps) => (
  <Spread margin={<Byline user={post.author} />}>
    <article>
      <h1 class="hidden">
        Post by <bdi>{shownName(post.author)}</bdi>
      </h1>
      <p class="words words-large" dir="auto">
        {post.text}
      </p>
      <Pictures media={post.media} />
      <PostDates post={post} />
    </article>
    {own ? (
      <div class="post-actions">
        <a class="button button-quiet" href={`/posts/${post.id}/edit`}>
          Edit
        </a>
        <DeletePost post={post} />
      </div>
    ) : null}
  </Spread>
)

export type EditPostPageProps = Draft & { post: Post }

export const EditPostPage = ({ post, text, errors }: EditPostPageProps) => (
  <Spread
    margin={
      <>
        <h1>Edit post</h1>
        <p class="aside">
          Published <Timestamp time={post.createdAt} />. It will say that it was edited.
        </p>
      </>
    }
  >
    <form class="form composer" method="post" action={`/posts/${post.id}/edit`}>
      <FormError errors={errors} />
      <TextArea
        id="text"
        name="text"
        label="Text"
        hint="Up to 2,000 characters of plain text."
        value={text}
        error={errors.text}
        rows={8}
        countTo={postCharactersMax}
        required
      />
      <p class="actions">
        <button class="button" type="submit">
          Save changes
        </button>
        <a class="text-link" href={`/posts/${post.id}`}>
          Cancel
        </a>
      </p>
    </form>
  </Spread>
)
