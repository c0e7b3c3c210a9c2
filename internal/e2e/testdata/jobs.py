"""What boto3 users do with jobs, and what they must not be able to do.

Driven by boto3_test.go, which gives the server in the environment. Old releases
of boto3 know fewer operations and members: what they do not know is left out.
"""

import contextlib
import copy
import datetime
import os
import re
import time
import unittest

import boto3
import botocore
import botocore.exceptions
from botocore.config import Config

ACCOUNT = '123456789012'
API = os.environ['TEST_API']
S3 = os.environ['TEST_S3']
ETAG = os.environ['TEST_ETAG']
TASKS = int(os.environ['TEST_TASKS'])
WAY = os.environ['TEST_WAY']  # how the client is led past the account in the host name: hook, exec
KEYS = {'aws_access_key_id': 'stevedore', 'aws_secret_access_key': 'stevedore-secret'}


def control(keys=KEYS, region='us-east-1', **config):
    config = {'retries': {'max_attempts': 0}, **config}
    if WAY == 'hook':
        client = boto3.client('s3control', region_name=region, endpoint_url=API, config=Config(**config), **keys)
        client.meta.events.register('before-sign.s3-control', lambda request, **kw: setattr(
            request, 'url', re.sub(r'://\d{12}\.', '://', request.url, count=1)))
        return client
    # stevedore exec has said it all; releases before 1.31 do not look there for endpoints.
    old = tuple(map(int, botocore.__version__.split('.')[:2])) < (1, 31)
    endpoint = os.environ['AWS_ENDPOINT_URL_S3_CONTROL'] if old else None
    return boto3.client('s3control', region_name=region, endpoint_url=endpoint, config=Config(**config), **keys)


def job(**changes):
    return {
        'AccountId': ACCOUNT,
        'Operation': {'S3PutObjectTagging': {'TagSet': [{'Key': 'by', 'Value': 'boto3'}]}},
        'Manifest': {
            'Spec': {'Format': 'S3BatchOperations_CSV_20180820', 'Fields': ['Bucket', 'Key']},
            'Location': {'ObjectArn': 'arn:aws:s3:::manifests/manifest.csv', 'ETag': ETAG},
        },
        'Report': {'Enabled': True, 'Bucket': 'arn:aws:s3:::reports', 'Prefix': 'r',
                   'Format': 'Report_CSV_20180820', 'ReportScope': 'AllTasks'},
        'Priority': 10,
        'RoleArn': 'arn:aws:iam::%s:role/any' % ACCOUNT,
        **changes,
    }


def wait(client, job_id, *statuses):
    """Polls, as clients have to."""
    deadline = time.monotonic() + 300
    while True:
        got = client.describe_job(AccountId=ACCOUNT, JobId=job_id)['Job']
        if got['Status'] in statuses:
            return got
        if time.monotonic() > deadline or got['Status'] in ('Complete', 'Failed', 'Cancelled'):
            raise AssertionError('the job is %s: %s' % (got['Status'], got['FailureReasons']))
        time.sleep(0.05)


UNTIL = datetime.datetime(2099, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
GRANTEE = {'TypeIdentifier': 'id', 'Identifier': 'abc', 'DisplayName': 'somebody'}

# All eleven, most of them with every member.
OPERATIONS = {
    'LambdaInvoke': {
        'FunctionArn': 'arn:aws:lambda:us-east-1:%s:function:f' % ACCOUNT,
        'InvocationSchemaVersion': '2.0', 'UserArguments': {'k': 'v'},
    },
    'S3PutObjectCopy': {
        'TargetResource': 'arn:aws:s3:::demo', 'TargetKeyPrefix': 'copies',
        'CannedAccessControlList': 'private', 'MetadataDirective': 'REPLACE',
        'ModifiedSinceConstraint': UNTIL, 'UnModifiedSinceConstraint': UNTIL,
        'NewObjectMetadata': {
            'CacheControl': 'no-store', 'ContentDisposition': 'inline', 'ContentEncoding': 'gzip', 'ContentLanguage': 'en',
            'UserMetadata': {'a': '1', 'b': '2'}, 'ContentType': 'text/plain', 'HttpExpiresDate': UNTIL, 'SSEAlgorithm': 'AES256',
        },
        'NewObjectTagging': [{'Key': 'k', 'Value': ''}], 'StorageClass': 'STANDARD', 'RedirectLocation': '/other',
        'ObjectLockLegalHoldStatus': 'ON', 'ObjectLockMode': 'GOVERNANCE', 'ObjectLockRetainUntilDate': UNTIL,
        'BucketKeyEnabled': True, 'ChecksumAlgorithm': 'SHA256',
    },
    'S3PutObjectAcl': {'AccessControlPolicy': {'AccessControlList': {
        'Owner': {'ID': 'me', 'DisplayName': 'Me'}, 'Grants': [{'Grantee': GRANTEE, 'Permission': 'READ'}]}}},
    'S3PutObjectTagging': {'TagSet': [{'Key': 'k', 'Value': ''}, {'Key': 'l', 'Value': 'é'}]},
    'S3DeleteObjectTagging': {},
    'S3InitiateRestoreObject': {'ExpirationInDays': 3, 'GlacierJobTier': 'BULK'},
    'S3PutObjectLegalHold': {'LegalHold': {'Status': 'OFF'}},
    'S3PutObjectRetention': {'BypassGovernanceRetention': True, 'Retention': {'RetainUntilDate': UNTIL, 'Mode': 'COMPLIANCE'}},
    'S3ReplicateObject': {},
    'S3ComputeObjectChecksum': {'ChecksumAlgorithm': 'CRC32', 'ChecksumType': 'COMPOSITE'},
    'S3UpdateObjectEncryption': {'ObjectEncryption': {'SSEKMS': {
        'KMSKeyArn': 'arn:aws:kms:us-east-1:%s:key/1' % ACCOUNT, 'BucketKeyEnabled': True}}},
}
EXECUTED = ('S3PutObjectTagging', 'S3DeleteObjectTagging', 'S3PutObjectCopy')  # at least


def known(shape, value):
    """The part of a value that this release of boto3 can send."""
    if shape.type_name == 'structure':
        return {k: known(shape.members[k], v) for k, v in value.items() if k in shape.members}
    if shape.type_name == 'list':
        return [known(shape.member, v) for v in value]
    return value


class Jobs(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.client = control()

    def count(self):
        return len(self.client.list_jobs(AccountId=ACCOUNT)['Jobs'])

    def test_whole_life(self):
        c = self.client
        job_id = c.create_job(**job(Description='dépôt', Tags=[{'Key': 'a', 'Value': ''}]))['JobId']
        got = wait(c, job_id, 'Suspended')
        self.assertEqual(got['ProgressSummary']['TotalNumberOfTasks'], TASKS)
        self.assertEqual(got['Description'], 'dépôt')
        self.assertEqual(got['JobArn'], 'arn:aws:s3:us-east-1:%s:job/%s' % (ACCOUNT, job_id))
        self.assertEqual(got['FailureReasons'], [])
        self.assertIsInstance(got['CreationTime'], datetime.datetime)
        self.assertIsInstance(got['SuspendedDate'], datetime.datetime)
        for member in ('Manifest', 'Operation', 'Report', 'Priority', 'RoleArn'):
            self.assertEqual(got[member], job()[member])

        of = {'AccountId': ACCOUNT, 'JobId': job_id}
        self.assertEqual(c.get_job_tagging(**of)['Tags'], [{'Key': 'a', 'Value': ''}])
        tags = [{'Key': 'team', 'Value': 'a b+c'}, {'Key': 'x', 'Value': '1'}]
        c.put_job_tagging(Tags=tags, **of)
        self.assertEqual(c.get_job_tagging(**of)['Tags'], tags)
        c.put_job_tagging(Tags=[], **of)
        self.assertEqual(c.get_job_tagging(**of)['Tags'], [])
        c.put_job_tagging(Tags=tags, **of)
        c.delete_job_tagging(**of)
        self.assertEqual(c.get_job_tagging(**of)['Tags'], [])

        answer = c.update_job_priority(Priority=0, **of)
        self.assertEqual((answer['JobId'], answer['Priority']), (job_id, 0))
        answer = c.update_job_status(RequestedJobStatus='Ready', StatusUpdateReason='a & b', **of)
        self.assertEqual((answer['Status'], answer['StatusUpdateReason']), ('Ready', 'a & b'))
        got = wait(c, job_id, 'Complete')
        progress = got['ProgressSummary']
        self.assertEqual((progress['NumberOfTasksSucceeded'], progress['NumberOfTasksFailed']), (TASKS, 0))
        self.assertGreaterEqual(progress['Timers']['ElapsedTimeInActiveSeconds'], 0)
        self.assertIsInstance(got['TerminationDate'], datetime.datetime)
        self.assertEqual(got['StatusUpdateReason'], 'a & b')
        s3 = boto3.client('s3', region_name='us-east-1', endpoint_url=S3, **KEYS)
        self.assertTrue(s3.get_object(Bucket='reports', Key='r/job-%s/manifest.json' % job_id)['Body'].read())

        with self.assertRaises(c.exceptions.JobStatusException):
            c.update_job_status(RequestedJobStatus='Cancelled', **of)
        with self.assertRaises(c.exceptions.BadRequestException):
            c.update_job_priority(Priority=1, **of)

    def test_cancel_and_list(self):
        c = control(region='eu-' + WAY)  # jobs are per Region: a list of our own
        ids = [c.create_job(**job(Priority=n))['JobId'] for n in range(3)]
        for job_id in ids:
            wait(c, job_id, 'Suspended')
        answer = c.update_job_status(AccountId=ACCOUNT, JobId=ids[1], RequestedJobStatus='Cancelled', StatusUpdateReason='no')
        self.assertEqual(answer['Status'], 'Cancelled')

        def listed(**kw):
            return [j['JobId'] for j in c.list_jobs(AccountId=ACCOUNT, **kw)['Jobs']]
        self.assertEqual(listed(), ids[::-1])
        self.assertEqual(listed(JobStatuses=['Cancelled', 'Active']), [ids[1]])
        self.assertEqual(listed(JobStatuses=['Active']), [])
        pages, token = [], {}
        while True:
            page = c.list_jobs(AccountId=ACCOUNT, MaxResults=1, **token)
            pages += [j['JobId'] for j in page['Jobs']]
            if 'NextToken' not in page:
                break
            token = {'NextToken': page['NextToken']}
        self.assertEqual(pages, ids[::-1])
        item = c.list_jobs(AccountId=ACCOUNT, MaxResults=1)['Jobs'][0]
        self.assertEqual((item['Operation'], item['Priority'], item['Status']), ('S3PutObjectTagging', 2, 'Suspended'))
        with self.assertRaises(self.client.exceptions.NotFoundException):
            self.client.describe_job(AccountId=ACCOUNT, JobId=ids[0])  # the other Region's

    def test_every_operation(self):
        shape = self.client.meta.service_model.shape_for('JobOperation')
        sent = {}
        for name in shape.members:
            self.assertIn(name, OPERATIONS, 'boto3 knows an operation that this test does not')
            operation = known(shape, {name: OPERATIONS[name]})
            sent[self.client.create_job(**job(Operation=operation))['JobId']] = operation
        self.assertGreaterEqual(len(sent), 9)
        for job_id, operation in sent.items():
            (name,) = operation
            got = wait(self.client, job_id, 'Suspended', 'Failed')
            self.assertEqual(got['Operation'], operation)
            if name in EXECUTED:
                self.assertEqual(got['Status'], 'Suspended')
            if got['Status'] == 'Failed':  # there is no such function here, no Object Lock, no rule of replication
                self.assertNotEqual(got['FailureReasons'][0]['FailureCode'], 'NotImplemented', name)

    def test_client_token(self):
        c = self.client
        wanted = job(ClientRequestToken='token-' + WAY)
        job_id = c.create_job(**wanted)['JobId']
        before = self.count()
        again = copy.deepcopy(wanted)
        again['Manifest'] = dict(reversed(list(wanted['Manifest'].items())))  # another order is the same request
        self.assertEqual(c.create_job(**again)['JobId'], job_id)
        with self.assertRaises(c.exceptions.IdempotencyException):
            c.create_job(**{**wanted, 'Priority': 11})
        self.assertEqual(self.count(), before)

    @contextlib.contextmanager
    def refused(self, code, *words):
        """Expects a typed exception where the model has one, and words in its sentence."""
        with self.assertRaises(botocore.exceptions.ClientError) as caught:
            yield
        answer = caught.exception.response
        self.assertEqual(answer['Error']['Code'], code)
        self.assertIn(answer['ResponseMetadata']['HTTPStatusCode'], (400, 403, 404))
        self.assertTrue(answer['ResponseMetadata']['RequestId'])
        for word in words:
            self.assertIn(word, answer['Error']['Message'])
        typed = getattr(self.client.exceptions, code, None) if code.endswith('Exception') else None
        if typed is not None:
            self.assertIsInstance(caught.exception, typed)

    def test_refused_calls(self):
        c = control(parameter_validation=False)
        job_id = c.create_job(**job())['JobId']
        of = {'AccountId': ACCOUNT, 'JobId': job_id}
        unknown = {'AccountId': ACCOUNT, 'JobId': '00000000-0000-4000-8000-000000000000'}
        before = c.describe_job(**of)['Job']['Priority']
        calls = [
            ('NotFoundException', '', lambda: c.describe_job(**unknown)),
            ('NotFoundException', '', lambda: c.get_job_tagging(**unknown)),
            ('NotFoundException', '', lambda: c.put_job_tagging(Tags=[], **unknown)),
            ('NotFoundException', '', lambda: c.delete_job_tagging(**unknown)),
            ('NotFoundException', '', lambda: c.update_job_priority(Priority=1, **unknown)),
            ('NotFoundException', '', lambda: c.update_job_status(RequestedJobStatus='Ready', **unknown)),
            ('BadRequestException', 'priority', lambda: c.update_job_priority(Priority=-1, **of)),
            ('BadRequestException', 'priority', lambda: c.update_job_priority(Priority=2**31, **of)),
            ('BadRequestException', 'requestedJobStatus', lambda: c.update_job_status(RequestedJobStatus='Paused', **of)),
            ('BadRequestException', 'statusUpdateReason',
             lambda: c.update_job_status(RequestedJobStatus='Ready', StatusUpdateReason='x' * 257, **of)),
            ('TooManyTagsException', '51', lambda: c.put_job_tagging(Tags=[{'Key': str(i), 'Value': ''} for i in range(51)], **of)),
            ('InvalidTag', 'Tags', lambda: c.put_job_tagging(Tags=[{'Key': 'a', 'Value': ''}] * 2, **of)),
            ('InvalidTag', 'Tags[0].Key', lambda: c.put_job_tagging(Tags=[{'Key': 'a;b', 'Value': ''}], **of)),
            ('InvalidRequestException', 'jobStatuses', lambda: c.list_jobs(AccountId=ACCOUNT, JobStatuses=['Running'])),
            ('InvalidRequestException', 'maxResults', lambda: c.list_jobs(AccountId=ACCOUNT, MaxResults=1001)),
            ('InvalidNextTokenException', 'nextToken', lambda: c.list_jobs(AccountId=ACCOUNT, NextToken='abc')),
            ('AccessDenied', 'account', lambda: c.describe_job(AccountId='999999999999', JobId=job_id)),
        ]
        if WAY == 'exec':  # the hook looks for twelve digits
            calls.append(('BadRequestException', 'x-amz-account-id', lambda: c.describe_job(AccountId='123', JobId=job_id)))
        for code, word, call in calls:
            with self.subTest(code=code, word=word), self.refused(code, word):
                call()
        self.assertEqual(c.describe_job(**of)['Job']['Priority'], before)

    def test_refused_keys(self):
        for code, keys in (
            ('SignatureDoesNotMatch', {**KEYS, 'aws_secret_access_key': 'wrong'}),
            ('InvalidAccessKeyId', {**KEYS, 'aws_access_key_id': 'nobody'}),
        ):
            with self.subTest(code=code), self.refused(code):
                control(keys=keys).list_jobs(AccountId=ACCOUNT)

    def test_refused_jobs(self):
        """Wrong input of any kind: a sentence that names the member, and no job."""
        c = control(parameter_validation=False)
        report, manifest = job()['Report'], job()['Manifest']

        def spec(**changes):
            return {**manifest, 'Spec': {**manifest['Spec'], **changes}}

        def location(**changes):
            return {**manifest, 'Location': {**manifest['Location'], **changes}}

        def tag_set(*tags):
            return {'S3PutObjectTagging': {'TagSet': [dict(zip(('Key', 'Value'), t)) for t in tags]}}

        def copying(**changes):
            return {'S3PutObjectCopy': {'TargetResource': 'arn:aws:s3:::demo', **changes}}

        wrong = [
            ('Operation', {'Operation': {}}),
            ('Operation', {'Operation': {**tag_set(('a', 'b')), 'S3DeleteObjectTagging': {}}}),
            ('Operation.S3PutObjectTagging.TagSet', {'Operation': tag_set(('a', 'b'), ('a', 'c'))}),
            ('Operation.S3PutObjectTagging.TagSet[0].Key', {'Operation': tag_set(('', 'b'))}),
            ('Operation.S3PutObjectCopy.TargetResource', {'Operation': copying(TargetResource='demo')}),
            ('Operation.S3PutObjectCopy.StorageClass', {'Operation': copying(StorageClass='HOT')}),
            ('Operation.S3PutObjectCopy.CannedAccessControlList', {'Operation': copying(CannedAccessControlList='everyone')}),
            ('Operation.S3PutObjectCopy.ObjectLockMode', {'Operation': copying(ObjectLockMode='GOVERNANCE')}),
            ('Operation.LambdaInvoke.UserArguments', {'Operation': {'LambdaInvoke': {'UserArguments': {'a': 'b'}}}}),
            ('Operation.S3InitiateRestoreObject.GlacierJobTier',
             {'Operation': {'S3InitiateRestoreObject': {'GlacierJobTier': 'EXPEDITED', 'ExpirationInDays': 1}}}),
            ('Operation.S3InitiateRestoreObject.ExpirationInDays',
             {'Operation': {'S3InitiateRestoreObject': {'GlacierJobTier': 'BULK', 'ExpirationInDays': -1}}}),
            ('Operation.S3PutObjectRetention.Retention', {'Operation': {'S3PutObjectRetention': {'Retention': {'Mode': 'COMPLIANCE'}}}}),
            ('Operation.S3PutObjectLegalHold.LegalHold.Status', {'Operation': {'S3PutObjectLegalHold': {'LegalHold': {'Status': 'MAYBE'}}}}),
            ('Operation.S3PutObjectAcl.AccessControlPolicy', {'Operation': {'S3PutObjectAcl': {'AccessControlPolicy': {}}}}),
            ('Manifest', {'Manifest': None}),
            ('Manifest.Spec.Format', {'Manifest': spec(Format='CSV')}),
            ('Manifest.Spec.Fields', {'Manifest': spec(Fields=['Bucket'])}),
            ('Manifest.Spec.Fields', {'Manifest': spec(Fields=['Bucket', 'Key', 'Key'])}),
            ('Manifest.Spec.Fields', {'Manifest': spec(Fields=['Bucket', 'Key', 'Size'])}),
            ('Manifest.Location.ObjectArn', {'Manifest': location(ObjectArn='s3://manifests/manifest.csv')}),
            ('Manifest.Location.ObjectArn', {'Manifest': location(ObjectArn='arn:aws:s3:::manifests')}),
            ('Manifest.Location.ETag', {'Manifest': location(ETag='x' * 1025)}),
            ('Manifest.Location', {'Manifest': {'Spec': manifest['Spec']}}),
            ('ManifestGenerator', {'ManifestGenerator': {'S3JobManifestGenerator': {
                'SourceBucket': 'arn:aws:s3:::demo', 'EnableManifestOutput': False}}}),
            ('ManifestOutputLocation', {'Manifest': None, 'ManifestGenerator': {'S3JobManifestGenerator': {
                'SourceBucket': 'arn:aws:s3:::demo', 'EnableManifestOutput': True}}}),
            ('Report.Bucket', {'Report': {**report, 'Bucket': 'reports'}}),
            ('Report.Bucket', {'Report': {k: v for k, v in report.items() if k != 'Bucket'}}),
            ('Report.Format', {'Report': {**report, 'Format': 'Report_JSON'}}),
            ('Report.ReportScope', {'Report': {k: v for k, v in report.items() if k != 'ReportScope'}}),
            ('Report.Prefix', {'Report': {**report, 'Prefix': 'x' * 513}}),
            ('Report.Enabled', {'Report': {}}),
            ('Priority', {'Priority': -1}),
            ('Priority', {'Priority': 2**31}),
            ('Priority', {'Priority': None}),
            ('RoleArn', {'RoleArn': 'admin'}),
            ('RoleArn', {'RoleArn': None}),
            ('Description', {'Description': 'x' * 257}),
            ('ClientRequestToken', {'ClientRequestToken': 'x' * 65}),
            ('Tags', {'Tags': [{'Key': str(i), 'Value': ''} for i in range(51)]}),
            ('Tags', {'Tags': [{'Key': 'a', 'Value': ''}] * 2}),
            ('Tags[0].Value', {'Tags': [{'Key': 'a', 'Value': 'x' * 257}]}),
        ]
        shape = c.meta.service_model.operation_model('CreateJob').input_shape
        before, sent = self.count(), 0
        for member, changes in wrong:
            request = {k: v for k, v in job(**changes).items() if v is not None}
            if known(shape, request) != request:
                continue
            sent += 1
            with self.subTest(member=member, changes=changes), self.refused('BadRequestException', member):
                c.create_job(**request)
        self.assertGreaterEqual(sent, len(wrong) - 1)
        with self.refused('AccessDenied', 'Cross-account'):
            c.create_job(**job(RoleArn='arn:aws:iam::999999999999:role/any'))
        self.assertEqual(self.count(), before)


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings='ignore')
