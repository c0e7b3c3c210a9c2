// What users of the AWS SDK for JavaScript do with jobs, against "stevedore dev".
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

import {
  BadRequestException, CreateJobCommand, DeleteJobTaggingCommand, DescribeJobCommand, GetJobTaggingCommand,
  IdempotencyException, InvalidNextTokenException, InvalidRequestException, JobStatusException, ListJobsCommand,
  NotFoundException, PutJobTaggingCommand, S3ControlClient, TooManyTagsException, UpdateJobPriorityCommand,
  UpdateJobStatusCommand, paginateListJobs,
} from '@aws-sdk/client-s3-control';

const AccountId = '123456789012';
const tasks = 20;
let server, ended, dir, api, etag;

// client leaves the account out of the host name, which no name server here knows.
const client = (more = {}) => new S3ControlClient({
  region: 'us-east-1', maxAttempts: 1,
  credentials: { accessKeyId: 'stevedore', secretAccessKey: 'stevedore-secret' },
  endpointProvider: () => ({ url: new URL(api) }),
  ...more,
});

const job = (more = {}) => new CreateJobCommand({
  AccountId,
  Operation: { S3PutObjectTagging: { TagSet: [{ Key: 'by', Value: 'js' }] } },
  Manifest: {
    Spec: { Format: 'S3BatchOperations_CSV_20180820', Fields: ['Bucket', 'Key'] },
    Location: { ObjectArn: 'arn:aws:s3:::manifests/manifest.csv', ETag: etag },
  },
  Report: { Enabled: true, Bucket: 'arn:aws:s3:::reports', Prefix: 'r', Format: 'Report_CSV_20180820', ReportScope: 'AllTasks' },
  Priority: 10,
  RoleArn: `arn:aws:iam::${AccountId}:role/any`,
  ...more,
});

const describe = async (c, JobId) => (await c.send(new DescribeJobCommand({ AccountId, JobId }))).Job;

// until polls a job, as clients have to.
const until = async (c, id, status) => {
  for (const deadline = Date.now() + 60_000; ;) {
    const got = await describe(c, id);
    if (got.Status === status) return got;
    assert.ok(Date.now() < deadline && !['Complete', 'Failed', 'Cancelled'].includes(got.Status), `the job is ${got.Status}`);
    await pause(50);
  }
};

before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'stevedore-js-'));
  const ready = join(dir, 'ready.json');
  server = spawn(process.env.STEVEDORE, ['dev', '--listen', '127.0.0.1:0', '--s3-listen', '127.0.0.1:0',
    '--seed', String(tasks), '--ready-file', ready], { stdio: ['ignore', 'pipe', 'inherit'] });
  ended = new Promise((resolve) => server.on('close', resolve));
  let block = '';
  server.stdout.on('data', (chunk) => { block += chunk; });
  for (const deadline = Date.now() + 60_000; ;) {
    const text = await readFile(ready, 'utf8').catch(() => '');
    if (text) {
      api = JSON.parse(text).api;
      break;
    }
    assert.ok(Date.now() < deadline && server.exitCode === null, 'the server does not get ready');
    await pause(50);
  }
  [, etag] = block.match(/"ETag":"([0-9a-f]{32})"/);
});

after(async () => {
  server.kill('SIGTERM');
  assert.equal(await ended, 0);
  await rm(dir, { recursive: true });
});

test('a whole life', async () => {
  const c = client();
  const { JobId } = await c.send(job({ Description: 'dépôt', Tags: [{ Key: 'a', Value: '' }] }));
  const of = { AccountId, JobId };
  let got = await until(c, JobId, 'Suspended');
  const sent = job().input;
  for (const member of ['Operation', 'Manifest', 'Report', 'Priority', 'RoleArn']) assert.deepEqual(got[member], sent[member]);
  assert.equal(got.Description, 'dépôt');
  assert.equal(got.ProgressSummary.TotalNumberOfTasks, tasks);
  assert.deepEqual(got.FailureReasons, []);
  assert.ok(got.CreationTime instanceof Date && got.SuspendedDate instanceof Date);

  const tags = async () => (await c.send(new GetJobTaggingCommand(of))).Tags;
  assert.deepEqual(await tags(), [{ Key: 'a', Value: '' }]);
  await c.send(new PutJobTaggingCommand({ ...of, Tags: [{ Key: 'team', Value: 'a b+c' }] }));
  assert.deepEqual(await tags(), [{ Key: 'team', Value: 'a b+c' }]);
  await c.send(new DeleteJobTaggingCommand(of));
  assert.deepEqual(await tags(), []);

  assert.equal((await c.send(new UpdateJobPriorityCommand({ ...of, Priority: 99 }))).Priority, 99);
  const confirm = () => c.send(new UpdateJobStatusCommand({ ...of, RequestedJobStatus: 'Ready', StatusUpdateReason: 'a & b' })); // a command is good for one call
  assert.equal((await confirm()).Status, 'Ready');
  got = await until(c, JobId, 'Complete');
  assert.equal(got.ProgressSummary.NumberOfTasksSucceeded, tasks);
  assert.equal(got.ProgressSummary.NumberOfTasksFailed, 0);
  assert.equal(got.StatusUpdateReason, 'a & b');
  assert.equal(got.Priority, 99);
  assert.ok(got.TerminationDate instanceof Date);
  await assert.rejects(confirm(), JobStatusException);
});

test('lists, pages and cancels', async () => {
  const c = client({ region: 'eu-west-3' }); // jobs are per Region: a list of our own
  const ids = [];
  for (let n = 0; n < 3; n++) ids.unshift((await c.send(job({ Priority: n }))).JobId);
  for (const id of ids) await until(c, id, 'Suspended');
  const cancel = new UpdateJobStatusCommand({ AccountId, JobId: ids[1], RequestedJobStatus: 'Cancelled', StatusUpdateReason: 'no' });
  assert.equal((await c.send(cancel)).Status, 'Cancelled');
  const pages = [];
  for await (const page of paginateListJobs({ client: c, pageSize: 1 }, { AccountId })) pages.push(page.Jobs.map((j) => j.JobId));
  assert.deepEqual(pages, ids.map((id) => [id]));
  const some = await c.send(new ListJobsCommand({ AccountId, JobStatuses: ['Cancelled', 'Active'] }));
  assert.deepEqual(some.Jobs.map((j) => [j.JobId, j.Operation, j.Status]), [[ids[1], 'S3PutObjectTagging', 'Cancelled']]);
});

test('tells its errors apart', async () => {
  const c = client();
  const token = { ClientRequestToken: 'token-1' };
  const { JobId } = await c.send(job(token));
  assert.equal((await c.send(job(token))).JobId, JobId);
  await assert.rejects(c.send(job({ ...token, Priority: 11 })), IdempotencyException);
  const unknown = '00000000-0000-4000-8000-000000000000';
  await assert.rejects(describe(c, unknown), NotFoundException);
  const many = Array.from({ length: 51 }, (_, n) => ({ Key: `k${n}`, Value: '' }));
  await assert.rejects(c.send(new PutJobTaggingCommand({ AccountId, JobId, Tags: many })), TooManyTagsException);
  await assert.rejects(c.send(new ListJobsCommand({ AccountId, NextToken: 'x' })), InvalidNextTokenException);
  await assert.rejects(c.send(new ListJobsCommand({ AccountId, MaxResults: 1001 })), InvalidRequestException);
  await assert.rejects(c.send(job({ RoleArn: 'admin' })), (e) => e instanceof BadRequestException && /RoleArn/.test(e.message)
    && e.$metadata.httpStatusCode === 400 && e.$metadata.requestId !== undefined);
  const refused = (code) => (e) => e.name === code && e.$metadata.httpStatusCode === 403;
  await assert.rejects(c.send(new ListJobsCommand({ AccountId: '999999999999' })), refused('AccessDenied'));
  const stranger = (accessKeyId, secretAccessKey) => client({ credentials: { accessKeyId, secretAccessKey } });
  await assert.rejects(stranger('stevedore', 'wrong').send(new ListJobsCommand({ AccountId })), refused('SignatureDoesNotMatch'));
  await assert.rejects(stranger('nobody', 'wrong').send(new ListJobsCommand({ AccountId })), refused('InvalidAccessKeyId'));
});

test('every operation is described back as it was sent', async () => {
  const c = client();
  const at = new Date('2099-01-02T03:04:05Z');
  const operations = {
    LambdaInvoke: { FunctionArn: `arn:aws:lambda:us-east-1:${AccountId}:function:f`, InvocationSchemaVersion: '2.0', UserArguments: { k: 'v' } },
    S3PutObjectCopy: {
      TargetResource: 'arn:aws:s3:::demo', TargetKeyPrefix: 'copies', CannedAccessControlList: 'private', MetadataDirective: 'REPLACE',
      ModifiedSinceConstraint: at, NewObjectMetadata: { ContentType: 'text/plain', UserMetadata: { a: '1' }, HttpExpiresDate: at },
      NewObjectTagging: [], StorageClass: 'STANDARD', BucketKeyEnabled: false,
    },
    S3PutObjectAcl: { AccessControlPolicy: { CannedAccessControlList: 'public-read' } },
    S3PutObjectTagging: { TagSet: [{ Key: 'k', Value: '' }] },
    S3DeleteObjectTagging: {},
    S3InitiateRestoreObject: { ExpirationInDays: 3, GlacierJobTier: 'BULK' },
    S3PutObjectLegalHold: { LegalHold: { Status: 'OFF' } },
    S3PutObjectRetention: { Retention: {} },
    S3ReplicateObject: {},
    S3ComputeObjectChecksum: { ChecksumAlgorithm: 'SHA256', ChecksumType: 'FULL_OBJECT' },
    S3UpdateObjectEncryption: { ObjectEncryption: { SSEKMS: { KMSKeyArn: `arn:aws:kms:us-east-1:${AccountId}:key/1` } } },
  };
  for (const [name, parameters] of Object.entries(operations)) {
    const { JobId } = await c.send(job({ Operation: { [name]: parameters } }));
    assert.deepEqual((await describe(c, JobId)).Operation, { [name]: parameters });
  }
});
