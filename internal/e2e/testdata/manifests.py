"""Jobs over manifests of every kind, by boto3.

Driven by manifests_test.go under stevedore exec, which says where the API is.
"""

import csv
import gzip
import hashlib
import io
import json
import os
import time
import unittest
import urllib.parse

import boto3
import botocore

ACCOUNT = '123456789012'
TASKS = int(os.environ['TEST_TASKS'])
KEYS = {'aws_access_key_id': 'stevedore', 'aws_secret_access_key': 'stevedore-secret'}
# Releases before 1.31 do not look for endpoints in the environment.
OLD = tuple(map(int, botocore.__version__.split('.')[:2])) < (1, 31)


def quoted(rows):
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator='\n').writerows(rows)
    return out.getvalue().encode()


class Manifests(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.s3 = boto3.client('s3', region_name='us-east-1', endpoint_url=os.environ['TEST_S3'], **KEYS)
        endpoint = os.environ['AWS_ENDPOINT_URL_S3_CONTROL'] if OLD else None
        self.control = boto3.client('s3control', region_name='us-east-1', endpoint_url=endpoint, **KEYS)
        self.demo = ['data/%06d.txt' % i for i in range(TASKS)]

    def run_job(self, **manifest):
        job_id = self.control.create_job(
            AccountId=ACCOUNT, ConfirmationRequired=False, Priority=1, RoleArn='arn:aws:iam::%s:role/any' % ACCOUNT,
            Operation={'S3PutObjectTagging': {'TagSet': [{'Key': 'by', 'Value': self.id()}]}},
            Report={'Enabled': True, 'Bucket': 'arn:aws:s3:::reports', 'Prefix': 'r', 'Format': 'Report_CSV_20180820', 'ReportScope': 'AllTasks'},
            **manifest)['JobId']
        deadline = time.monotonic() + 120
        while True:
            job = self.control.describe_job(AccountId=ACCOUNT, JobId=job_id)['Job']
            if job['Status'] in ('Complete', 'Failed'):
                return job
            self.assertLess(time.monotonic(), deadline, job)
            time.sleep(0.05)

    def assert_done(self, job, keys):
        """The job has changed these objects: its report says so, and their tags."""
        self.assertEqual((job['Status'], job['FailureReasons']), ('Complete', []))
        progress = job['ProgressSummary']
        self.assertEqual((progress['TotalNumberOfTasks'], progress['NumberOfTasksSucceeded']), (len(keys), len(keys)))
        index = json.loads(self.read('reports', 'r/job-%s/manifest.json' % job['JobId']))
        rows = [row for result in index['Results'] for row in csv.reader(io.StringIO(self.read('reports', result['Key']).decode()))]
        self.assertEqual(sorted(urllib.parse.unquote(row[1]) for row in rows), sorted(keys))
        self.assertEqual({row[3] for row in rows}, {'succeeded'})
        for key in self.demo:
            tags = self.s3.get_object_tagging(Bucket='demo', Key=key)['TagSet']
            self.assertEqual({'Key': 'by', 'Value': self.id()} in tags, key in keys, key)

    def read(self, bucket, key):
        return self.s3.get_object(Bucket=bucket, Key=key)['Body'].read()

    def inventory(self, name, files, spoil=lambda files: None):
        listed = []
        for i, rows in enumerate(files):
            data = gzip.compress(quoted(rows))
            key = '%s/data/%d.csv.gz' % (name, i)
            self.s3.put_object(Bucket='manifests', Key=key, Body=data)
            listed.append({'key': key, 'size': len(data), 'MD5checksum': hashlib.md5(data).hexdigest()})
        spoil(listed)
        key = name + '/manifest.json'
        etag = self.s3.put_object(Bucket='manifests', Key=key, Body=json.dumps({
            'sourceBucket': 'demo', 'destinationBucket': 'arn:aws:s3:::manifests', 'version': '2016-11-30', 'creationTimestamp': '1514944800000',
            'fileFormat': 'CSV', 'fileSchema': 'Bucket, Key, Size', 'files': listed}))['ETag']
        return {'Spec': {'Format': 'S3InventoryReport_CSV_20161130'}, 'Location': {'ObjectArn': 'arn:aws:s3:::manifests/' + key, 'ETag': etag}}

    def test_inventory(self):
        keys = self.demo[::2]
        files = [[('demo', key, '5') for key in keys[i::3]] for i in range(3)]
        self.assert_done(self.run_job(Manifest=self.inventory('py', files)), keys)

    def test_wrong_sum(self):
        job = self.run_job(Manifest=self.inventory('wrong', [[('demo', self.demo[0], '5')]], lambda files: files[0].update(MD5checksum='0' * 32)))
        self.assertEqual((job['Status'], job['ProgressSummary']['TotalNumberOfTasks']), ('Failed', 0))
        self.assertEqual(job['FailureReasons'][0]['FailureCode'], 'InvalidManifestContent')
        self.assertIn('file wrong/data/0.csv.gz: its MD5 is ', job['FailureReasons'][0]['FailureReason'])

    def test_generator(self):
        """All releases know these filters; none of the objects was ever replicated."""
        after = self.s3.head_object(Bucket='demo', Key=self.demo[0])['LastModified'].replace(year=2000)
        generator = {
            'SourceBucket': 'arn:aws:s3:::demo', 'EnableManifestOutput': True, 'Filter': {'CreatedAfter': after, 'ObjectReplicationStatuses': ['NONE']},
            'ManifestOutputLocation': {'Bucket': 'arn:aws:s3:::manifests', 'ManifestPrefix': 'made', 'ManifestFormat': 'S3InventoryReport_CSV_20211130'}}
        job = self.run_job(ManifestGenerator={'S3JobManifestGenerator': generator})
        self.assert_done(job, self.demo)
        self.assertEqual(job['ManifestGenerator']['S3JobManifestGenerator'], generator)
        made = job['GeneratedManifestDescriptor']
        self.assertEqual(made['Format'], 'S3InventoryReport_CSV_20211130')
        bucket, _, key = made['Location']['ObjectArn'].removeprefix('arn:aws:s3:::').partition('/')
        index = json.loads(self.read(bucket, key))
        self.assertEqual(index['fileSchema'], 'Bucket, Key')
        rows = [row for f in index['files'] for row in csv.reader(io.StringIO(gzip.decompress(self.read('manifests', f['key'])).decode()))]
        self.assertEqual(sorted(rows), [['demo', key] for key in self.demo])
        again = {'Spec': {'Format': 'S3InventoryReport_CSV_20161130'}, 'Location': made['Location']}
        self.assert_done(self.run_job(Manifest=again), self.demo)

        generator['Filter'] = {'ObjectReplicationStatuses': ['REPLICA']}
        job = self.run_job(ManifestGenerator={'S3JobManifestGenerator': generator})
        self.assertEqual((job['Status'], job['ProgressSummary']['TotalNumberOfTasks']), ('Failed', 0))
        self.assertEqual(job['FailureReasons'][0]['FailureReason'], 'Manifest generation found no keys matching the filter criteria.')
        self.assertNotIn('GeneratedManifestDescriptor', job)

    def test_lenient(self):
        etag = self.s3.put_object(Bucket='manifests', Key='bom.csv', Body=b'\xef\xbb\xbfBucket,Key\r\ndemo,' + self.demo[1].encode())['ETag']
        manifest = {'Spec': {'Format': 'S3BatchOperations_CSV_20180820', 'Fields': ['Bucket', 'Key']},
                    'Location': {'ObjectArn': 'arn:aws:s3:::manifests/bom.csv', 'ETag': etag}}
        job = self.run_job(Manifest=manifest)
        self.assertEqual((job['Status'], job['ProgressSummary']['TotalNumberOfTasks']), ('Failed', 0))
        job = self.run_job(Manifest=manifest, Tags=[{'Key': 'stevedore:manifest', 'Value': 'lenient'}])
        self.assert_done(job, [self.demo[1]])
        self.assertEqual(job['StatusUpdateReason'], 'Manifest read leniently: byte order mark skipped, header row skipped')


if __name__ == '__main__':
    unittest.main(verbosity=2)
